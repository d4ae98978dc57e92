"""`make run`: the whole platform, until Ctrl-C."""

from __future__ import annotations

import json
import os
import sys
import time

from rich import box
from rich.console import Console
from rich.table import Table

from common.settings import SettingsError
from dev import platform, supervisor
from dev.platform import Platform
from dev.servers import ServerError

TRY = ("language", {"text": "Joyful, joyful, we adore thee"})


def main() -> None:
    console = Console(highlight=False)
    began = time.monotonic()
    supervisor.raise_on_signals()
    try:
        with platform.running(os.environ, tell=lambda line: console.print(f"[yellow]{line}[/]")) as hub:
            show(console, hub, time.monotonic() - began)
            hub.supervisor.run()
    except KeyboardInterrupt:
        console.print("stopped")
    except (ServerError, SettingsError) as error:
        console.print(f"[red]{error}[/]")
        sys.exit(1)


def show(console: Console, hub: Platform, seconds: float) -> None:
    """Print the addresses, the accounts, and a command to try."""
    wide = Console(file=console.file, width=160, highlight=False)  # a wrapped address cannot be copied
    wide.print(addresses(hub, seconds))
    console.print("Paste this into another terminal:\n")
    print(curl(hub), end="\n\n")  # not through rich, which would wrap the line
    console.print("[dim]Ctrl-C stops everything.[/]")


def addresses(hub: Platform, seconds: float) -> Table:
    settings = hub.settings
    user, _, password = settings.flower_basic_auth.partition(":")
    table = Table(box=box.SIMPLE, show_header=False, title=f"Joyfull Hub, up in {seconds:.1f} s", title_justify="left")
    for style in ("bold", "cyan", ""):
        table.add_column(style=style, overflow="fold")
    table.add_row("console", f"{hub.url}/console/", f"{platform.DEVELOPER}  {hub.passwords[platform.DEVELOPER]}")
    table.add_row("", "", f"{hub.environ['ADMIN_EMAIL']}  {_admin_password(hub)}")
    table.add_row("API", f"{hub.url}/api/v1", "")
    table.add_row("documentation", f"{hub.url}/docs", "")
    table.add_row("readiness", f"{hub.url}/ready", "")
    table.add_row("metrics", f"{hub.url}/metrics", "")
    table.add_row("Flower", platform.local_url(settings.host, settings.flower_port), f"{user}  {password}")
    table.add_row("example tools", hub.tools_url, "")
    table.add_row("PostgreSQL", settings.database_url, "")
    table.add_row("Redis", settings.redis_url, "")
    table.add_row("logs", f"{settings.data_dir}/log", "")
    table.add_row("mails", f"{settings.data_dir}/mail", "")
    return table


def _admin_password(hub: Platform) -> str:
    return hub.passwords[platform.ADMIN] if hub.environ["ADMIN_EMAIL"] == platform.ADMIN else "(ADMIN_PASSWORD)"


def curl(hub: Platform) -> str:
    """A shell command that invokes a tool and waits for its result."""
    tool, question = TRY
    headers = (f"X-API-Key: {hub.api_key}", "Content-Type: application/json", "Prefer: wait=10")
    options = " ".join(f"-H '{header}'" for header in headers)
    return f"curl -s {hub.url}/api/v1/tools/{tool}/invoke {options} -d '{json.dumps({'input': question})}'"


if __name__ == "__main__":
    main()
