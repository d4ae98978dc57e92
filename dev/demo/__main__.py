"""`make demo`: start the platform, run the scenario, verify the ledger. Exits with 0 only if everything succeeded."""

from __future__ import annotations

import importlib.util
import os
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
from rich.text import Text

from common.settings import SettingsError
from dev import chromium, platform, run, supervisor
from dev.demo import model, story
from dev.demo.receiver import Receiver
from dev.demo.scenario import Demo
from dev.demo.screen import Screen
from dev.platform import ROOT, Platform
from dev.servers import ServerError
from joyfull import Client, JoyfullError, Session

BOOKS_SECONDS = 120
PICTURES_SECONDS = 120
SHOWN_FAULTS = 5


def main() -> int:
    screen = Screen()
    supervisor.raise_on_signals()
    began = time.monotonic()
    deaths: list[str] = []

    def report_death(line: str) -> None:
        deaths.append(line)  # the process is restarted, but none should have died
        screen.fault(line)

    screen.title("Joyfull Hub: AI tools as durable, metered jobs")
    screen.say("starting PostgreSQL, Redis, web, workers, beat, Flower and the example tools …")
    try:
        log = ROOT / "var" / "llm.log"
        with model.running(os.environ, log) as environ, platform.running(environ, tell=report_death) as hub:
            screen.done(f"ready after {time.monotonic() - began:.1f} s at {hub.url}")
            faults = demonstrate(hub, screen) + deaths
            end(screen, faults, time.monotonic() - began, f"{hub.url}/console/")
            if os.environ.get("KEEP", "") not in ("", "0"):
                run.show(screen.console, hub, time.monotonic() - began)
                with suppress(KeyboardInterrupt):
                    hub.supervisor.run()
    except KeyboardInterrupt:
        screen.say("stopped")
        return 130
    except (ServerError, SettingsError) as error:
        screen.fault(str(error))
        return 1
    return 1 if faults else 0


def demonstrate(hub: Platform, screen: Screen) -> list[str]:
    """Run the scenario. Returns a description of each failed check."""
    email, password = f"ada-{secrets.token_hex(4)}@example.com", secrets.token_urlsafe(16)
    http = httpx.Client(trust_env=False)  # no proxy from the environment for loopback
    with (
        Receiver().listening() as receiver,
        http,
        Client(base_url=hub.url, session=Session(email, password), http=http) as client,
    ):
        folder = hub.settings.data_dir / "demo"
        demo = Demo(client, screen, receiver, hub.supervisor.tick, folder, email, password)
        demo.talker = "chat" if hub.environ.get(model.PYTHON) else demo.talker
        try:
            story.tell(demo)
        except JoyfullError as error:
            demo.expect(False, str(error))
    check_books(hub, demo)
    if not demo.faults:
        picture(hub, demo)
    hub.supervisor.tick()
    return demo.faults


def check_books(hub: Platform, demo: Demo) -> None:
    """Verify the ledger with the operator's command, the only step that does not use HTTP."""
    demo.screen.title("The ledger: flask --app wsgi books verify")
    checked = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "books", "verify"],
        env=dict(hub.environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BOOKS_SECONDS,
        check=False,
    )
    for line in (checked.stdout + checked.stderr).strip().splitlines()[-12:]:
        demo.screen.show(Text(line))
    demo.confirm(checked.returncode == 0, "the ledger is correct to the token", "the ledger does not balance")


def picture(hub: Platform, demo: Demo) -> None:
    """Write pictures of the console to DEMO_PICTURES (docs/), if there is a browser to take them with."""
    if importlib.util.find_spec("playwright") is None or chromium.executable() is None:
        return
    folder = Path(os.environ.get("DEMO_PICTURES") or ROOT / "docs")
    run_id = next(job.id for job in demo.jobs if job.tool == "summary")
    account = {"DEMO_EMAIL": demo.email, "DEMO_PASSWORD": demo.password, "DEMO_RUN": str(run_id)}
    command = [sys.executable, "-m", "dev.demo.pictures", hub.url, str(folder)]
    taken = subprocess.run(
        command,
        env={**os.environ, **account},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PICTURES_SECONDS,
        check=False,
    )
    done = f"pictures of the console in {folder}"
    demo.confirm(taken.returncode == 0, done, f"no pictures of the console: {taken.stderr[-500:]}")


def end(screen: Screen, faults: list[str], seconds: float, console: str) -> None:
    screen.title("Result")
    if not faults:
        screen.done(f"[bold]everything succeeded[/], {seconds:.0f} s from a cold start to a verified ledger")
        screen.say("[dim]next:[/] make run [dim]keeps it running;[/] examples/README.md [dim]adds your own tool[/]")
        screen.say(f"[dim]the console is then at[/] [bold]{console}[/]")
        return
    for fault in faults[:SHOWN_FAULTS]:
        screen.fault(fault)
    if len(faults) > SHOWN_FAULTS:
        screen.fault(f"and {len(faults) - SHOWN_FAULTS} more, above")


if __name__ == "__main__":
    sys.exit(main())
