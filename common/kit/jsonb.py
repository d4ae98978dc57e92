"""JSON for PostgreSQL, answers and hashes: orjson, or the standard library for integers beyond 64 bits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from typing import Final

import orjson

from common.kit.pieces import StepCounter

#: How many values `as_sent` and `canonical` look at: a few milliseconds.
LOOKED_AT: Final = 20_000
#: A text of no more characters is parsed at once: a millisecond or two.
_AT_ONCE: Final = 128 * 1024
_pieces = StepCounter()


def dumps(value: object) -> str:
    """Compact JSON text."""
    return encoded(value).decode()


def encoded(value: object) -> bytes:
    """Compact JSON in UTF-8. `value` may contain what `passed_on` returns."""
    try:
        return orjson.dumps(value)
    except TypeError:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_parsed)
        return text.encode()


def passed_on(text: str | None) -> orjson.Fragment | None:
    """JSON text as a part of a larger value: `encoded` inserts it as it is, without parsing it. None: null.

    For stored payloads: to parse and write 190,000 values takes 25 ms, in which a web process does nothing else.
    """
    return None if text is None else orjson.Fragment(text)


def parsed(text: str) -> object:
    """The value of a stored JSON text. Others run between pieces of a long one."""
    return json.loads(text) if len(text) <= _AT_ONCE else _DECODER.decode(text)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    _pieces.step()
    return dict(pairs)


def _float(digits: str) -> float:
    _pieces.step()
    return float(digits)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float)


def _parsed(value: object) -> object:
    if isinstance(value, orjson.Fragment):
        return json.loads(orjson.dumps(value))
    raise TypeError(f"{type(value).__name__} is not JSON")


def as_sent(value: object) -> str | None:
    """The JSON text of a value that `jsonb` would change: a different order of keys or a different form of number.

    None for a value that `jsonb` preserves, so that few values are stored twice (docs/decisions/json-as-sent.md). One
    that would take long to look through is stored twice as well.
    """
    return None if _kept(value, count(LOOKED_AT, -1)) else dumps(value)


def _kept(value: object, left: Iterator[int]) -> bool:
    """`left` counts down the values that are looked at."""
    _pieces.step()
    if next(left) <= 0:
        return False
    if isinstance(value, dict):
        encoded = [key.encode() for key in value]
        return encoded == sorted(encoded, key=_order) and all(_kept(each, left) for each in value.values())
    if isinstance(value, list):
        return all(_kept(each, left) for each in value)
    return not isinstance(value, float) or ("e" not in repr(value) and not (value == 0 and repr(value) == "-0.0"))


def _order(key: bytes) -> tuple[int, bytes]:
    """PostgreSQL's sort order of keys in a `jsonb`."""
    return len(key), key


def canonical(value: object) -> bytes:
    """Canonical bytes: equal for values that are equal by RFC 8785, whatever the order of keys and the form of numbers.

    Unlike there, integers of 2^53 and more keep all their digits. The form of numbers counts from 10^40 on (1e40 is not
    the integer with its digits), and everywhere in a value that would take long to look through: there 1.0 is not 1.
    """
    found = _sorted(value)
    if found.count(b",") < LOOKED_AT and _WHOLE.search(found):
        return _sorted(_with_whole_numbers(value))
    return found


#: A float of so much stays one: as an integer it may have 309 digits, which take long to write.
_LARGE: Final = 1e40
#: A number that may be whole and yet be written as a float: `1.0`, `1e16`.
_WHOLE: Final = re.compile(rb"\d(?:\.0(?!\d)|e)")


def _sorted(value: object) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()


def _with_whole_numbers(value: object) -> object:
    """The value with every float that is a whole number, and not large, as an integer."""
    if isinstance(value, dict):
        return {key: _with_whole_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _LARGE else value
