"""Count the checks in a JSON Schema with all references expanded, without running any.

Thirty definitions, each an `anyOf` of the next one twice, are thirty lines and a billion subschemas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

#: Keywords whose value is a schema, a list of schemas, or schemas by name.
ONE: Final = (
    "additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
    "propertyNames", "then",
)  # fmt: skip
MANY: Final = ("allOf", "anyOf", "items", "oneOf", "prefixItems")
NAMED: Final = ("dependencies", "dependentSchemas", "patternProperties", "properties")
#: Keywords whose number of checks cannot be known in advance.
UNKNOWN: Final = ("$dynamicRef", "$recursiveRef", "unevaluatedItems", "unevaluatedProperties")
#: Weight of a pattern with counted repetitions, which compiles to many states.
COUNTED: Final = 2_000
MOST: Final = 100_000


class TooHeavy(ValueError):
    """The schema has more than `MOST` checks."""


class Unbounded(ValueError):
    """The schema is recursive, or uses references that are not followed here: the checks depend on the value."""


def weigh(schema: object) -> int:
    """The number of checks in a schema with all references expanded. Raises `TooHeavy`, `Unbounded`."""
    try:
        return _Scale(schema).weigh(schema)
    except RecursionError:
        raise Unbounded from None


class _Scale:
    def __init__(self, root: object) -> None:
        self._root = root
        self._weighed: dict[int, int] = {}
        self._open: set[int] = set()

    def weigh(self, schema: object) -> int:
        if not isinstance(schema, Mapping):
            return 1
        if id(schema) in self._weighed:
            return self._weighed[id(schema)]
        if id(schema) in self._open or not schema.keys().isdisjoint(UNKNOWN):
            raise Unbounded
        if "$id" in schema and schema is not self._root:
            raise Unbounded
        self._open.add(id(schema))
        total = _own(schema) + sum(self.weigh(each) for each in self._inner(schema))
        self._open.discard(id(schema))
        if total > MOST:
            raise TooHeavy
        self._weighed[id(schema)] = total
        return total

    def _inner(self, schema: Mapping[str, object]) -> Iterator[object]:
        yield from (schema[name] for name in ONE if isinstance(schema.get(name), Mapping | bool))
        for name in MANY:
            if isinstance(several := schema.get(name), list):
                yield from several
        for name in NAMED:
            if isinstance(named := schema.get(name), Mapping):
                yield from named.values()
        if "$ref" in schema:
            yield self._at(schema["$ref"])

    def _at(self, ref: object) -> object:
        """Resolve a reference within the document."""
        if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")) or "%" in ref:
            raise Unbounded
        found = self._root
        for token in ref.split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, list | Mapping):
                raise Unbounded
            try:
                found = found[int(name)] if isinstance(found, list) else found[name]
            except (KeyError, IndexError, ValueError):
                raise Unbounded from None
        return found


def _own(schema: Mapping[str, object]) -> int:
    """A schema's own checks, without its subschemas: keywords, listed values, patterns."""
    patterns = [schema.get("pattern"), *_names(schema.get("patternProperties"))]
    listed = sum(_size(schema[name]) for name in ("enum", "const", "required", "dependentRequired") if name in schema)
    return 1 + len(schema) + listed + sum(_pattern(each) for each in patterns if isinstance(each, str))


def _names(value: object) -> list[object]:
    return list(value) if isinstance(value, Mapping) else []


def _size(value: object) -> int:
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return 1 + sum(map(_size, inside))


def _pattern(pattern: str) -> int:
    return COUNTED if "{" in pattern else len(pattern)
