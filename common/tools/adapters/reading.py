"""Parse a tool's response as untrusted input: strict JSON that PostgreSQL can store, and JSON Pointers (RFC 6901)."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from typing import Final

from common.kit import redaction, strict_json

#: Deeper than any sensible response, and less than what the JSON encoder can write.
MAX_DEPTH = 64
_READER = strict_json.JsonReader(depth=MAX_DEPTH)

#: JSON media types, or any text, which many servers send by default.
_MEDIA_TYPE = re.compile(
    r"(?:application/(?:[\w.+-]+\+)?json|text/[\w.+-]+)\s*(?:;(?P<parameters>.*))?", re.IGNORECASE | re.DOTALL
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w-]+)", re.IGNORECASE)
#: The most units that there are: an integer may be larger than any double, in which they are shown.
MOST_UNITS: Final = sys.float_info.max
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


class Unreadable(ValueError):
    """The response cannot be used; the message says why."""


class Missing(LookupError):
    """Nothing at this pointer."""


def parse(content_type: str, body: bytes, secrets: Collection[str] = ()) -> object:
    """The JSON value of a response, with our secrets redacted. Raises `Unreadable`."""
    _check_media_type(content_type)
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        value = _READER.read(body)
    except strict_json.RepeatedKey:  # a key may be our credential, and only a part of it would be quoted
        raise Unreadable("The response has an object with the same key more than once.") from None
    except strict_json.UnacceptableJson as refusal:
        raise Unreadable(f"The response {refusal}") from None
    if next(strict_json.unstorable(body, value), None) is not None:
        raise Unreadable("The response contains the character U+0000 or a lone surrogate.")
    return redaction.without(value, secrets)


def _check_media_type(content_type: str) -> None:
    match = _MEDIA_TYPE.fullmatch(content_type.strip())
    if match is None:
        raise Unreadable("The Content-Type of the response is not JSON.")
    charset = _CHARSET.search(match["parameters"] or "")
    if charset is not None and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise Unreadable("The response is not in UTF-8.")


def at(value: object, pointer: str) -> object:
    """The value at a JSON Pointer (RFC 6901). Raises `Missing`."""
    for token in _tokens(pointer):
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and _INDEX.fullmatch(token) and int(token) < len(value):
            value = value[int(token)]
        else:
            raise Missing(pointer)
    return value


def _tokens(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise Missing(pointer)
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def units(value: object, pointer: str) -> float:
    """The number of units reported at a pointer, at most `MOST_UNITS`. Raises `Unreadable`: it cannot be priced."""
    try:
        number = at(value, pointer)
    except Missing:
        raise Unreadable(f"The response has no number of units at {pointer}.") from None
    if isinstance(number, bool) or not isinstance(number, int | float) or number < 0:
        raise Unreadable(f"The value at {pointer} in the response is not a number of units.")
    return min(number, MOST_UNITS)
