"""Count the checks in a JSON Schema with all references expanded, without running any.

Thirty definitions, each an `anyOf` of the next one twice, are thirty lines and a billion subschemas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
#: Weight of `uniqueItems`: up to fifteen items are compared with each other.
UNIQUE: Final = 30
#: Weight of a `multipleOf` among others, for `multiples`: an integer, and a fraction, by which long numbers are divided
#: digit by digit.
WHOLE: Final = 5
FRACTION: Final = 20
MOST: Final = 100_000


class TooHeavy(ValueError):
    """The schema has more than `MOST` checks."""


class Unbounded(ValueError):
    """The schema is recursive, or uses references that are not followed here: the checks depend on the value."""


def weigh(schema: object) -> int:
    """The number of checks in a schema with all references expanded. Raises `TooHeavy`, `Unbounded`."""
    return _weighed(schema, _own)


def multiples(schema: object) -> int:
    """The weight of all `multipleOf` in a schema with all references expanded. Raises `TooHeavy`, `Unbounded`."""
    return _weighed(schema, _multiple)


def _weighed(schema: object, own: Callable[[object], int]) -> int:
    try:
        return _Scale(schema, own).weigh(schema)
    except RecursionError:
        raise Unbounded from None


class _Scale:
    """`own`: the weight of a schema without its subschemas."""

    def __init__(self, root: object, own: Callable[[object], int]) -> None:
        self._root, self._own = root, own
        self._weighed: dict[int, int] = {}
        self._open: set[int] = set()

    def weigh(self, schema: object) -> int:
        if not isinstance(schema, Mapping):
            return self._own(schema)
        if id(schema) in self._weighed:
            return self._weighed[id(schema)]
        if id(schema) in self._open or not schema.keys().isdisjoint(UNKNOWN):
            raise Unbounded
        if "$id" in schema and schema is not self._root:
            raise Unbounded
        self._open.add(id(schema))
        total = self._own(schema) + sum(self.weigh(each) for each in self._inner(schema))
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


def _own(schema: object) -> int:
    """A schema's own checks, without its subschemas: keywords, listed values, patterns."""
    if not isinstance(schema, Mapping):
        return 1
    patterns = [schema.get("pattern"), *_names(schema.get("patternProperties"))]
    listed = sum(_size(schema[name]) for name in ("enum", "const", "required", "dependentRequired") if name in schema)
    unique = UNIQUE if schema.get("uniqueItems") is True else 0
    return 1 + len(schema) + listed + unique + sum(_pattern(each) for each in patterns if isinstance(each, str))


def _multiple(schema: object) -> int:
    if not isinstance(schema, Mapping) or "multipleOf" not in schema:
        return 0
    return WHOLE if isinstance(schema["multipleOf"], int) else FRACTION


def _names(value: object) -> list[object]:
    return list(value) if isinstance(value, Mapping) else []


def _size(value: object) -> int:
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return 1 + sum(map(_size, inside))


def _pattern(pattern: str) -> int:
    return COUNTED if "{" in pattern else len(pattern)
