"""JSON that is written for reading, on several lines: in pieces, between which others run, no longer than asked for.

Python indents about a megabyte in a second, and what is indented may have many times the size of its JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from common.kit.pieces import StepCounter

#: Characters of an input that is written anew, on several lines.
MOST_CHARS: Final = 64 * 1024
_ENCODER: Final = json.JSONEncoder(indent=2, ensure_ascii=False)
#: A step may pass through as many generators as there are levels.
_steps: Final = StepCounter(250)


def indented(value: object) -> str:
    """The whole text."""
    return "".join(_pieces(value))


def within(value: object, most: int = MOST_CHARS) -> str | None:
    """The whole text, or None if it has more than `most` characters."""
    text = beginning(value, most)
    return text if len(text) <= most else None


def beginning(value: object, most: int) -> str:
    """The text, or a beginning of it with more than `most` characters."""
    found: list[str] = []
    size = 0
    for piece in _pieces(value):
        found.append(piece)
        size += len(piece)
        if size > most:
            break
    return "".join(found)


def _pieces(value: object) -> Iterator[str]:
    for piece in _ENCODER.iterencode(value):
        yield piece
        _steps.step()
