"""Files that hold secrets: for their owner only, and never half written."""

from __future__ import annotations

import os
from pathlib import Path

from joyfull.errors import ConfigurationError


def write_private(path: Path, text: str) -> None:
    """A file that only its owner can read: the old one or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_private(path: Path) -> str | None:
    """What it says; None if it is not there. Raises ConfigurationError when others can read it."""
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(f"others can read {path}: chmod 600 it, and replace what it holds")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
