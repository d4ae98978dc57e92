"""The console's own files, in memory, under an address that changes with their content: browsers keep them for good."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from common.settings.links import CONSOLE_PREFIX

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOREVER: Final = "public, max-age=31536000, immutable"


@cache
def files() -> dict[str, bytes]:
    """The files by their path below `static/`; licences are for those who read the source."""
    found = (file for file in sorted(STATIC.rglob("*")) if file.suffix in TYPES)
    return {file.relative_to(STATIC).as_posix(): file.read_bytes() for file in found}


@cache
def digest() -> str:
    """Of all files: modules import each other by relative names, so they change together."""
    summed = hashlib.sha256()
    for name, content in files().items():
        summed.update(f"{name} {len(content)} ".encode() + content)
    return summed.hexdigest()[:12]


def address(name: str) -> str:
    """The path of a file. Raises `KeyError` for one that is not there."""
    return f"{CONSOLE_PREFIX}/static/{digest()}/{name}" if files()[name] is not None else ""


def media_type(name: str) -> str:
    """Of a file, by its name."""
    return f"{TYPES[Path(name).suffix]}; charset=utf-8"
