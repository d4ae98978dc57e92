"""The command `joyfull`. It needs Click and Rich, which `pip install 'joyfull[cli]'` brings along."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

from joyfull.cli.version import version_line


def main() -> int:
    """The command on the PATH. Says so when what it needs is not installed (2)."""
    if sys.argv[1:] == ["--version"]:  # without loading anything else
        sys.stdout.write(version_line())
        return 0
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        sys.stderr.write(f"joyfull needs {' and '.join(missing)}: pip install 'joyfull[cli]'\n")
        return 2
    return int(import_module("joyfull.cli.app").run(sys.argv[1:]))
