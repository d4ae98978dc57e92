"""Limit the nesting depth and number of values of JSON text before it is parsed.

Five megabytes of `[{},{},…]` become hundreds of megabytes of objects. Counting them in the bytes never takes more
memory than a copy of the text. Others run between pieces of a long text.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

from common.kit import pieces

#: Maximum number of values in one text: objects, arrays and their contents (member names are not counted).
MAX_VALUES: Final = 200_000

#: A JSON string; the closing quote is optional, so that text with unclosed quotes is still scanned in one pass.
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"?'
_STRINGS = re.compile(_STRING, re.DOTALL)
#: Strings and the text between them, up to 4096 strings or 64 kB of such text per piece: removing the strings builds a
#: list of that length, and while one piece is measured no other thread can run.
_PIECES = re.compile(rb'(?:[^"]{1,16}|' + _STRING + rb"){1,4096}", re.DOTALL)
_SPACE = b" \t\r\n"
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
#: Brackets as signed bytes: one level down, one level up.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


class UnacceptableJson(ValueError):
    """The text is not acceptable. The message is a predicate: "is nested more than …"."""


class NestedTooDeep(UnacceptableJson):
    """The text is nested deeper than allowed."""


class TooManyValues(UnacceptableJson):
    """The text has more values, or an object more keys, than allowed."""


def check(text: bytes, *, depth: int, values: int = MAX_VALUES) -> None:
    """Reject text that is nested too deep or has too many values. Does not check that it is valid JSON.

    Raises `NestedTooDeep`, `TooManyValues`.
    """
    opened = text.count(b"[") + text.count(b"{")
    if opened > depth or opened + text.count(b",") >= values:
        _measure(text, depth, values)


def most_values(text: bytes) -> int:
    """How many values a text has at most: strings are not told from what is around them."""
    return 1 + text.count(b"[") + text.count(b"{") + text.count(b",")


def _measure(text: bytes, most_deep: int, most: int) -> None:
    depth, values, opened = 0, 1, False  # `opened`: the text before ends with a bracket, which may close at once
    for piece in _PIECES.finditer(text):
        if piece.start():
            pieces.let_others_run()
        bare = _STRINGS.sub(b"0", piece[0]).translate(None, _SPACE)
        if not bare:
            continue
        values -= opened and bare[:1] in b"]}"
        opened = bare[-1:] in b"[{"
        values += bare.count(b",") + bare.count(b"[") + bare.count(b"{") - bare.count(b"[]") - bare.count(b"{}")
        if values - opened > most:
            raise TooManyValues(f"has more than {most:,} values.")
        steps = bare.translate(_STEPS, _NOT_BRACKETS)
        if max(accumulate(memoryview(steps).cast("b"), initial=depth)) > most_deep:
            raise NestedTooDeep(f"is nested more than {most_deep} levels deep.")
        depth += steps.count(b"\x01") - steps.count(b"\xff")
