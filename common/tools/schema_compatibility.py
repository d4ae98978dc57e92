"""Whether one tool takes the inputs of another, as far as their schemas tell: pure.

Types, required and listed names, and listed values are compared. What cannot be told (references, combinations) counts
as compatible: every input is validated by the schema of the tool that runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

Schema = Mapping[str, object]

#: With one of these, a schema alone does not tell what its values are.
_COMBINED: Final = ("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if")
_ALL: Final = {"array", "boolean", "integer", "null", "number", "object", "string"}


def fault(given: Schema, taking: Schema) -> str | None:
    """Why inputs that are valid for the schema `given` may be invalid for `taking`; None if nothing is known."""
    return next(_faults(given, taking, ""), None)


def _faults(given: object, taking: object, at: str) -> Iterator[str]:
    if taking is False:
        yield f"It takes nothing{_place(at)}."
    if not isinstance(given, Mapping) or not isinstance(taking, Mapping):
        return
    if lacking := sorted(_types(given, set()) - _types(taking, _ALL)):
        yield f"It does not take {lacking[0]}{_place(at)}."
    if values := _lacking(given, taking):
        yield f"It takes only some values{_place(at)}: {values}."
    mine, theirs = _properties(given), _properties(taking)
    asked = _names(given, "required")
    if given.keys().isdisjoint(_COMBINED):
        yield from (
            f"It requires {_inside(at, name)}, which this tool does not."
            for name in _names(taking, "required")
            if name not in asked
        )
    if taking.get("additionalProperties") is False and "patternProperties" not in taking:
        yield from (f"It does not take {_inside(at, name)}." for name in mine if name not in theirs)
    for name in mine.keys() & theirs.keys():
        yield from _faults(mine[name], theirs[name], _inside(at, name))
    yield from _faults(given.get("items"), taking.get("items"), f"{at}[]")


def _types(schema: Schema, unknown: set[str]) -> set[str]:
    """The types that a schema lets through; `unknown` if it does not tell."""
    named = schema.get("type")
    if named is None and ("properties" in schema or "required" in schema):
        named = "object"
    if named is None:
        return _ALL if schema.keys().isdisjoint(("enum", "const", *_COMBINED)) else unknown
    types = {str(each) for each in named} if isinstance(named, list) else {str(named)}
    return types | {"integer"} if "number" in types else types


def _lacking(given: Schema, taking: Schema) -> str | None:
    """What is said of values that only one of them takes."""
    taken = _values(taking)
    if taken is None or not given.keys().isdisjoint(_COMBINED):
        return None
    asked = _values(given)
    return None if asked is not None and all(each in taken for each in asked) else ", ".join(map(str, taken))[:100]


def _values(schema: Schema) -> list[object] | None:
    if "const" in schema:
        return [schema["const"]]
    listed = schema.get("enum")
    return listed if isinstance(listed, list) else None


def _properties(schema: Schema) -> Schema:
    found = schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def _names(schema: Schema, keyword: str) -> list[str]:
    found = schema.get(keyword)
    return [str(name) for name in found] if isinstance(found, list) else []


def _inside(at: str, name: str) -> str:
    return f"{at}/{name}"


def _place(at: str) -> str:
    return f" at {at}" if at else ""
