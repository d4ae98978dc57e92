"""Text in `application/x-www-form-urlencoded`, decoded in pieces between which others run.

A megabyte of `%41`, decoded at once, would have others wait for a third of a second.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from common.kit import pieces

#: So many characters, each of which may be escaped: decoded in less than a millisecond.
_PIECES: Final = re.compile(rb"(?:%[0-9A-Fa-f]{2}|.){1,2048}", re.DOTALL)


def pairs(encoded: bytes, most: int) -> list[tuple[str, str]]:
    """The names and values, as `urllib.parse.parse_qsl` has them; one without `=` has an empty value.

    Raises `ValueError` if there are more than `most`, and `UnicodeDecodeError` for what is not UTF-8.
    """
    encoded.decode()
    if encoded.count(b"&") >= most:
        raise ValueError(f"more than {most} pairs")
    halves = [pair.partition(b"=") for pair in encoded.replace(b"+", b" ").split(b"&") if pair]
    return [(_decoded(name), _decoded(value)) for name, _, value in halves]


def _decoded(encoded: bytes) -> str:
    found = bytearray()
    for piece in _PIECES.finditer(encoded):
        if piece.start():
            pieces.let_others_run()
        found += unquote_to_bytes(piece[0])
    return found.decode()
