"""Parse a tool's response as untrusted input: strict JSON that PostgreSQL can store, and JSON Pointers (RFC 6901)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

import orjson

from common.kit import shape
from common.tools.adapters import redaction

#: Deeper than any sensible response, and less than what the JSON encoder can write.
MAX_DEPTH = 64

#: JSON media types, or any text, which many servers send by default.
_MEDIA_TYPE = re.compile(
    r"(?:application/(?:[\w.+-]+\+)?json|text/[\w.+-]+)\s*(?:;(?P<parameters>.*))?", re.IGNORECASE | re.DOTALL
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w-]+)", re.IGNORECASE)
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


class Unreadable(ValueError):
    """The response cannot be used; the message says why."""


class Missing(LookupError):
    """Nothing at this pointer."""


def parse(content_type: str, body: bytes, secrets: Collection[str] = ()) -> Any:
    """The JSON value of a response, with our secrets redacted. Raises `Unreadable`."""
    _check_media_type(content_type)
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        shape.check(body, depth=MAX_DEPTH)
        value = orjson.loads(body)  # strict: UTF-8, no NaN, no infinity, no lone surrogates
    except shape.NestedTooDeep:
        raise Unreadable(f"The response is nested more than {MAX_DEPTH} levels deep.") from None
    except shape.TooManyValues:
        raise Unreadable(f"The response has more than {shape.MAX_VALUES:,} values.") from None
    except orjson.JSONDecodeError as error:
        raise Unreadable("The response is not valid JSON.") from error
    if _LONG_NUMBER.search(body):
        value = json.loads(body)  # keeps integers beyond 64 bits exact
    if b"\\u0000" in body:
        _check_characters(value)
    return redaction.without(value, secrets)


def _check_media_type(content_type: str) -> None:
    match = _MEDIA_TYPE.fullmatch(content_type.strip())
    if match is None:
        raise Unreadable("The Content-Type of the response is not JSON.")
    charset = _CHARSET.search(match["parameters"] or "")
    if charset is not None and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise Unreadable("The response is not in UTF-8.")


def _check_characters(value: Any) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise Unreadable("The response contains the character U+0000.")
    elif isinstance(value, dict):
        for key, nested in value.items():
            _check_characters(key)
            _check_characters(nested)
    elif isinstance(value, list):
        for nested in value:
            _check_characters(nested)


def at(value: Any, pointer: str) -> Any:
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


def units(value: Any, pointer: str) -> float:
    """The number of units reported at a pointer. Raises `Unreadable`: the call cannot be priced."""
    try:
        number = at(value, pointer)
    except Missing:
        raise Unreadable(f"The response has no number of units at {pointer}.") from None
    if isinstance(number, bool) or not isinstance(number, int | float) or number < 0:
        raise Unreadable(f"The value at {pointer} in the response is not a number of units.")
    return number
