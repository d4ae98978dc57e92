"""What was typed into one field of an input's form (`inputs`), as a value at its place."""

from __future__ import annotations

from common.kit import strict_json
from common.kit.strict_json import JsonReader
from web.http import body, large_bodies


def put(found: dict[str, object], name: str, text: str) -> None:
    """Put what was typed into the field `name` to where it belongs in the input. Raises `ValueError`, `RateLimited`."""
    steps = name[2:].split("/", body.MAX_DEPTH)
    value = read(name[0], text, len(steps))
    *outer, last = map(unescaped, steps)
    at: object = found
    for step in outer:
        at = at.setdefault(step, {}) if isinstance(at, dict) else None
    if not isinstance(at, dict) or last in at:
        raise ValueError("Given twice, as a whole and in parts.")
    at[last] = value


def read(kind: str, text: str, levels: int = 0) -> object:
    """The value of a field of this kind that is so many `levels` deep. Raises `ValueError`, `RateLimited`."""
    if levels > body.MAX_DEPTH:
        raise ValueError(f"Is nested more than {body.MAX_DEPTH} levels deep.")
    if kind == "s":
        return text
    if kind == "l":
        return [line for line in text.split("\n") if line]
    value = _json(kind, text, levels)
    if kind == "n" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError("Must be a number.")
    return value


def _json(kind: str, text: str, levels: int) -> object:
    try:
        written = text.encode()
        with large_bodies.turn(len(written)):
            value = JsonReader(depth=body.MAX_DEPTH - levels, keys=body.MAX_KEYS).read(written)
    except (strict_json.UnacceptableJson, UnicodeEncodeError):
        raise ValueError("Must be a number." if kind == "n" else "Must be JSON.") from None
    if any(True for _ in strict_json.unstorable(written, value)):
        raise ValueError(body.FORBIDDEN_DETAIL)
    return value


def escaped(step: str) -> str:
    """A key as a step of a JSON Pointer (RFC 6901)."""
    return step.replace("~", "~0").replace("/", "~1")


def unescaped(step: str) -> str:
    """The key of a step."""
    return step.replace("~1", "/").replace("~0", "~")
