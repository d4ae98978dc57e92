"""Files of the command: written whole, for their owner only, one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from joyfull import configuration
from joyfull.private_files import write_private
from joyfull.session_file import SessionFile


def session_file(profile: str) -> SessionFile:
    """Where the session of a profile is kept, if one is."""
    return SessionFile(configuration.directory() / "sessions" / f"{quote(profile, safe='')}.json")


def state_directory() -> Path:
    """`$XDG_STATE_HOME/joyfull` (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "joyfull"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else changes this file meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def store_key(profile: str, entry: Mapping[str, str] | None) -> Path:
    """Keep the key of a profile, or forget it."""
    path = configuration.directory() / "credentials.json"
    with locked(path):
        kept = configuration.entries(path)
        kept.pop(profile, None)
        if entry is not None:
            kept[profile] = dict(entry)
        write_private(path, json.dumps(kept, indent=2) + "\n")
    return path


def store_settings(profile: str, settings: Mapping[str, str | None]) -> Path:
    """Change settings of a profile; None removes one."""
    path = configuration.directory() / "config.toml"
    with locked(path):
        sections = configuration.sections(path)
        section = {**sections.get(profile, {}), **settings}
        sections[profile] = {name: value for name, value in section.items() if value is not None}
        text = "\n".join(_section(name, values) for name, values in sections.items() if values)
        write_private(path, text)
    return path


def _section(name: str, values: Mapping[str, str]) -> str:
    """A table of TOML: its basic strings are written as JSON's are."""
    lines = (f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    return f"[{json.dumps(name)}]\n" + "".join(lines)
