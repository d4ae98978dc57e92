"""The command `joyfull` in a process of its own, with a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

COMMAND = "import sys; from joyfull.cli import main; sys.exit(main())"


def start(url: str, key: str, home: Path, *arguments: str, stdin: int | None = None) -> subprocess.Popen[bytes]:
    """Started; stdout and stderr are pipes."""
    environ = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "clients" / "python"), "JOYFULL_API_KEY": key,
        "JOYFULL_BASE_URL": url, "XDG_STATE_HOME": str(home), "XDG_CONFIG_HOME": str(home),
    }  # fmt: skip
    command = [sys.executable, "-c", COMMAND, *arguments]
    return subprocess.Popen(command, env=environ, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
