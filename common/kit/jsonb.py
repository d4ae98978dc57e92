"""JSON for PostgreSQL and hashes: orjson, and the standard library for integers that do not fit 64 bits."""

from __future__ import annotations

import json
from typing import Any

import orjson


def dumps(value: Any) -> str:
    """Compact JSON text."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def as_sent(value: Any) -> str | None:
    """The JSON text of what a `jsonb` would not give back as it was: another order of keys, another kind of number.

    None for what it keeps, so that hardly anything is stored twice (docs/decisions/json-as-sent.md).
    """
    return None if _kept(value) else dumps(value)


def _kept(value: Any) -> bool:
    if isinstance(value, dict):
        encoded = [key.encode() for key in value]
        return encoded == sorted(encoded, key=_order) and all(map(_kept, value.values()))
    if isinstance(value, list):
        return all(map(_kept, value))
    return not isinstance(value, float) or ("e" not in repr(value) and not (value == 0 and repr(value) == "-0.0"))


def _order(key: bytes) -> tuple[int, bytes]:
    """How PostgreSQL arranges the keys of a `jsonb`."""
    return len(key), key


def canonical(value: Any) -> bytes:
    """The same bytes for the same JSON value, whatever the order of keys was (in the spirit of RFC 8785)."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
