"""The commands of docs/tools.md, pasted into a shell one after the other."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from dev.platform import Platform
from tests.admin.conftest import Admin
from tests.client import Client

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tools.md"


def test_every_command_works_as_it_stands(
    hub: Platform, client: Client, admin: Admin, offer: Callable[..., str]
) -> None:
    offer(slug="sentiment")
    key = client.keys.create(name="docs").key
    admins = admin.keys.create(name="docs", scopes=["admin"]).key
    _, *blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    # Each answer on a line of its own, and an error is the end.
    script = f"set -euo pipefail; curl() {{ command curl --fail-with-body -w '\\n' \"$@\"; }}\n{''.join(blocks)}"
    environ = {"PATH": os.environ["PATH"], "HUB": hub.url, "KEY": key, "ADMIN": admins}
    done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(re.findall(r"^curl ", script, re.MULTILINE))
    assert all("data" in answer for answer in answers)
