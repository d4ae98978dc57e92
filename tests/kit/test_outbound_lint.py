"""There is outbound client: `make check` breaks where anybody makes another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def complaints(code: str, path: str) -> str:
    """What the linter says of `code` if it were at `path`."""
    command = [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--no-cache", "--stdin-filename", path, "-"]
    done = subprocess.run(command, input=code, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import requests",
        "from requests import get",
        "import httpx",
        "import urllib3",
        "import aiohttp",
        "import http.client",
        "from http import client",
        "import urllib.request",
        "from urllib.request import urlopen",
        "import socket; socket.create_connection(('10.0.0.1', 80))",
    ],
)
@pytest.mark.parametrize("path", ["common/tools/new.py", "worker/new.py", "web/api/new.py"])
def test_another_way_out_is_refused(code: str, path: str) -> None:
    assert "TID251" in complaints(code, path)


def test_the_outbound_client_itself_may_go_out() -> None:
    assert "TID251" not in complaints("import requests", "common/kit/outbound/new.py")
