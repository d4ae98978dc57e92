"""Canonical JSON (RFC 8785, JCS): the same bytes for equal values in every language, to be hashed and signed.

Numbers are IEEE 754 doubles, as there: an integer beyond 2^53 counts as the double next to it, as it does for every
reader whose JSON numbers are doubles. Others run between pieces of a large value.
"""

from __future__ import annotations

import hashlib
import math
from decimal import Decimal
from typing import Final

import orjson

from common.kit.pieces import StepCounter, let_others_run

#: JavaScript writes what is from 1e-6 up to here without an exponent.
_POSITIONAL_BELOW: Final = 21
_EXACT: Final = 2**53
#: A number that is not written as orjson does takes as long as so many other values.
_STEPS: Final = 6
#: How many bytes are hashed at once: about a millisecond.
_HASHED: Final = 1024 * 1024
_pieces = StepCounter()


class NotCanonical(ValueError):
    """The value has a number that no double can hold."""


def canonical(value: object) -> bytes:
    """The canonical bytes of a JSON value. Raises `NotCanonical`."""
    return orjson.dumps(_prepared(value))


def sha256(value: object) -> str:
    """The SHA-256 of the canonical bytes, in hex. Raises `NotCanonical`."""
    text, found = memoryview(canonical(value)), hashlib.sha256()
    for start in range(0, len(text), _HASHED):
        if start:
            let_others_run()
        found.update(text[start : start + _HASHED])
    return found.hexdigest()


def sha256_or_none(value: object) -> str | None:
    """As `sha256`; None for a value that has no canonical form."""
    try:
        return sha256(value)
    except NotCanonical:
        return None


def _prepared(value: object) -> object:
    """The value with keys in order, and with the text of each number that orjson writes in another way."""
    _pieces.step()
    if isinstance(value, dict):
        return {key: _prepared(value[key]) for key in _in_order(value)}
    if isinstance(value, list):
        return [_prepared(each) for each in value]
    if isinstance(value, float):
        return _float(value)
    return _written(value) if isinstance(value, int) and abs(value) > _EXACT else value


def _float(value: float) -> object:
    """The float as it is, or what is written in its place: orjson's text is JavaScript's but for these."""
    size = abs(value)
    if size <= _EXACT and not value % 1:
        return int(value)
    return _written(value) if 1e-6 <= size < 1e-5 or 1e15 < size < 1e21 or not size < math.inf else value


def _written(value: float) -> orjson.Fragment:
    _pieces.step(_STEPS)
    return orjson.Fragment(number(value))


def _in_order(keys: dict[str, object]) -> list[str]:
    """By their UTF-16 code units (§3.2.3)."""
    return sorted(keys) if all(map(str.isascii, keys)) else sorted(keys, key=lambda key: key.encode("utf-16-be"))


def number(value: float) -> str:
    """A number as ECMAScript writes it (§3.2.2.3). Raises `NotCanonical`."""
    try:
        double = float(value)
    except OverflowError:
        raise NotCanonical("an integer is beyond what a double can hold") from None
    if not math.isfinite(double):
        raise NotCanonical(f"{double} is no JSON number")
    if double == 0:
        return "0"
    shortest = Decimal(repr(double)).normalize()
    exponent = shortest.adjusted()
    if -7 < exponent < _POSITIONAL_BELOW:
        return format(shortest, "f")
    sign, digits, _ = shortest.as_tuple()
    first, *others = map(str, digits)
    fraction = f".{''.join(others)}" if others else ""
    return f"{'-' if sign else ''}{first}{fraction}e{exponent:+d}"
