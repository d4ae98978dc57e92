"""The commands of docs/invocations.md and docs/schedules.md, pasted into a shell one after the other."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.platform import Platform
from tests.client import Client

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("page", ["invocations.md", "schedules.md"])
def test_every_command_works_as_it_stands(hub: Platform, client: Client, offer: Callable[..., str], page: str) -> None:
    offer(slug="sentiment")
    key = client.keys.create(name="docs").key
    _, *blocks = re.findall(r"^```sh\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    # Each answer on a line of its own, and an error is the end.
    script = f"set -euo pipefail; curl() {{ command curl --fail-with-body -w '\\n' \"$@\"; }}\n{''.join(blocks)}"
    environ = {"PATH": os.environ["PATH"], "HUB": hub.url, "KEY": key}
    done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line]
    assert len(answers) >= len(blocks)
    assert all("data" in answer for answer in answers)
