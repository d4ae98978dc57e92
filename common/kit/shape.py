"""How deep JSON text is nested and how many values it has, counted in its bytes: a parser must never see too much.

Five megabytes of `[{},{},…]` become hundreds of megabytes of objects. Counting takes no more memory than a copy of
the text, whatever is in it.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

#: Values of one text: objects, arrays and what is in them (names of members are not counted).
MAX_VALUES: Final = 200_000

#: A JSON string; the closing quote is optional, so that text of unclosed quotes is still read in one pass.
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"?'
_STRINGS = re.compile(_STRING, re.DOTALL)
#: Whole strings and what is between them, so many at a time: to cut them out makes a list as long as they are many.
_PIECES = re.compile(rb'(?:[^"]+|' + _STRING + rb"){1,4096}", re.DOTALL)
_SPACE = b" \t\r\n"
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
#: Brackets as signed bytes: one level down, one level up.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


class TooDeep(ValueError):
    """Nested deeper than was allowed."""


class TooMany(ValueError):
    """More values than were allowed."""


def check(text: bytes, *, depth: int, values: int = MAX_VALUES) -> None:
    """Refuse what is too deep or has too many values. Whether it is JSON at all is not looked at.

    Raises `TooDeep`, `TooMany`.
    """
    opened = text.count(b"[") + text.count(b"{")
    if opened > depth or opened + text.count(b",") >= values:
        _measure(text, depth, values)


def _measure(text: bytes, most_deep: int, most: int) -> None:
    depth, values = 0, 1
    for piece in _PIECES.finditer(text):
        bare = _STRINGS.sub(b"0", piece[0]).translate(None, _SPACE)
        steps = bare.translate(_STEPS, _NOT_BRACKETS)
        if max(accumulate(memoryview(steps).cast("b"), initial=depth)) > most_deep:
            raise TooDeep
        depth += steps.count(b"\x01") - steps.count(b"\xff")
        values += bare.count(b",") + bare.count(b"[") + bare.count(b"{") - bare.count(b"[]") - bare.count(b"{}")
        if values > most:
            raise TooMany
