"""`make demo` as a newcomer runs it, and as it must fail when the platform does not do what it should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from common.kit import clock
from dev.chromium import executable
from dev.demo import __main__ as demo
from dev.demo.receiver import Receiver
from dev.demo.screen import Screen
from dev.platform import Platform
from dev.ports import free_port
from tests.conftest import ROOT

SECONDS = 300
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.chaos
def test_the_demo_ends_well(tmp_path: Path) -> None:
    ports = {name: str(free_port()) for name in ("PORT", "FLOWER_PORT", "TOOLS_PORT")}
    folders = {"DATA_DIR": str(tmp_path / "var"), "DEMO_PICTURES": str(tmp_path)}
    environ = {"PATH": os.environ["PATH"], "WORKER_THREADS": "20", **folders, **ports}
    environ["PYTHONPATH"] = "clients/python"  # as the Makefile has it

    ran = subprocess.run(
        [sys.executable, "-m", "dev.demo"], cwd=ROOT, env=environ, capture_output=True, timeout=SECONDS, check=False
    )

    shown = ran.stdout.decode()
    assert ran.returncode == 0, shown + ran.stderr.decode()
    assert "everything succeeded" in shown
    assert "24 of 24 languages correct" in shown
    assert "54 of 54 webhooks received" in shown
    assert "they are its output" in shown and "verified offline" in shown and "NOT VERIFIED" in shown
    assert "nothing held" in shown
    assert f"http://localhost:{ports['PORT']}/console/" in shown.splitlines()[-1].replace("127.0.0.1", "localhost")
    pictures = sorted(each.name for each in tmp_path.glob("console-*.png"))
    named = [f"console-{name}.png" for name in ("overview", "run", "statement", "tool", "usage")]
    assert pictures == (named if executable() else [])
    assert "✗" not in shown
    assert "\x1b" not in shown, "escape codes where no terminal is"
    assert ran.stderr == b""


def test_the_demo_sees_that_a_platform_does_nothing(hub: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    """This one has no example tools: nothing can be invoked."""
    faults = demo.demonstrate(hub, Screen())

    assert faults[0].startswith("the catalogue lacks flaky, keywords, language")
    assert "the ledger is correct" in capsys.readouterr().out


def test_the_receiver_believes_whoever_holds_the_secret_and_nobody_else() -> None:
    receiver = Receiver()
    receiver.secret = SECRET
    body = '{"type":"invocation.succeeded","data":{"id":"1","status":"succeeded"}}'

    assert not receiver.accept(body.encode(), signed(body, "whsec_" + "c29tZWJvZHkgZWxzZSdzIHNlY3JldCBrZXk="))
    assert not receiver.accept(body.replace("1", "2").encode(), signed(body, SECRET))
    assert not receiver.accept(body.encode(), {**signed(body, SECRET), "webhook-signature": "nonsense"})
    assert (receiver.refused, receiver.ended) == (3, {})
    assert receiver.accepts_forgeries(), "nothing genuine has come: nothing has been shown"

    assert receiver.accept(body.encode(), signed(body, SECRET))
    assert receiver.wait_for("1", timeout=1).status == "succeeded"
    assert not receiver.accepts_forgeries()


def signed(body: str, secret: str) -> dict[str, str]:
    now = clock.now()
    signature = Webhook(secret).sign("msg_1", now, body)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
