"""The parameters of an operation: those of path and query are properties of the input, beside those of the body."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from common.tools import url_templates
from common.tools.importing.document import Document, Part, Unmapped, listing, mapping

_VARIABLE: Final = re.compile(r"\{([^{}]*)\}")
#: How deep a body's schema is looked into for what it says of other properties.
MAX_DEPTH: Final = 20
#: With one of these, a body says something of properties that it does not name.
_CLOSING: Final = ("unevaluatedProperties", "propertyNames", "maxProperties", "patternProperties", "not")
_COMBINED: Final = ("allOf", "anyOf", "oneOf")


class Noting(Protocol):
    """The tool that is made of the operation."""

    method: str
    path: str

    def note(self, detail: str, *, blocking: bool = False) -> None: ...


@dataclass(slots=True)
class Parameters:
    """Those that are sent. `appended`: the part of the address that takes the query of what is no GET."""

    in_path: list[Part] = field(default_factory=list)
    in_query: list[Part] = field(default_factory=list)
    appended: str = ""

    @property
    def all(self) -> list[Part]:
        """Those of the path first."""
        return [*self.in_path, *self.in_query]

    def schema(self, **more: object) -> dict[str, object]:
        """The schema of an input of nothing else; `more`: beside it, in place of the ban on other properties."""
        properties = {str(part.get("name")): _schema_of(part) for part in self.all}
        required = [str(part.get("name")) for part in self.all if part.get("required") is True or part in self.in_path]
        found: dict[str, object] = {"type": "object", "properties": properties}
        return {**found, **({"required": required} if required else {}), **(more or {"additionalProperties": False})}

    def beside(self, document: Document, body: object) -> dict[str, object]:
        """The schema of an input that has the properties of a body too. Raises `Unmapped` if they do not fit."""
        part = document.part(body) if isinstance(body, Mapping) else {}
        if part.get("type") != "object" and not _has_properties(document, body):
            raise Unmapped("The body is not an object, so parameters cannot be added to its properties.")
        taken = {str(each.get("name")) for each in self.all}
        if both := sorted(taken & set(_names(document, body))):
            raise Unmapped(f"The parameter {both[0][:100]} has the name of a property of the body.")
        if part.get("additionalProperties", True) is False and not {*part} & {*_COMBINED, *_CLOSING}:
            return _merged(self.schema(), part)
        if _is_closed(document, body):
            raise Unmapped("The body allows no other properties, so parameters cannot be added.")
        return self.schema(allOf=[body])


def of(document: Document, tool: Noting, item: Part, operation: Part) -> Parameters:
    """The parameters of an operation that can be sent. Notes the others; raises `Unmapped`."""
    nodes = [*listing(item.get("parameters")), *listing(operation.get("parameters"))]
    merged: dict[tuple[str, str], Part] = {}
    for node in nodes:
        part = document.part(node)
        where, name = part.get("in"), part.get("name")
        if not isinstance(where, str) or not isinstance(name, str):
            raise Unmapped("A parameter has no name, or no place: `in` and `name` must be strings.")
        merged[where, name] = part
    found = Parameters()
    for part in merged.values():
        _sort(document, tool, part, found)
    declared = {str(part.get("name")) for part in found.in_path}
    for name in _VARIABLE.findall(tool.path):
        if name not in declared and ("path", name) not in merged:
            tool.note(f"The path has {{{name[:100]}}}, which no parameter declares.", blocking=True)
    names = [str(part.get("name")) for part in found.all]
    if len({*names}) < len(names):
        raise Unmapped("A parameter of the path and one of the query have the same name.")
    if tool.method != "GET" and found.in_query:
        found.appended = "{?" + ",".join(str(part.get("name")) for part in found.in_query) + "}"
    return found


def _sort(document: Document, tool: Noting, part: Part, found: Parameters) -> None:
    where, name = part.get("in"), str(part.get("name"))
    required = part.get("required") is True or where == "path"
    if where == "header" and name.lower() in ("accept", "content-type", "authorization"):
        return
    if where not in ("path", "query"):
        tool.note(f"The {where} parameter {name[:100]} cannot be sent.", blocking=required)
    elif where == "path" and f"{{{name}}}" not in tool.path:
        tool.note(f"The path parameter {name[:100]} does not stand in the path.")
    elif (why := _unsendable(document, part, tool.method)) is not None:
        tool.note(f"The {where} parameter {name[:100]} {why}.", blocking=required)
    else:
        (found.in_path if where == "path" else found.in_query).append(part)


def _unsendable(document: Document, part: Part, method: str) -> str | None:
    """Why a parameter cannot be sent: lists are joined with commas in the path, and repeat the name in the query."""
    in_path = part.get("in") == "path"
    if (in_path or method != "GET") and url_templates.NAME.fullmatch(str(part.get("name"))) is None:
        return "has a name that the address of a tool cannot have"
    if "content" in part:
        return None if not in_path and "application/json" in mapping(part["content"]) else "is not sent as JSON"
    schema = document.part(part.get("schema", {}))
    usual = "simple" if in_path else "form"
    if (style := str(part.get("style", usual))) != usual:
        return f"has the style {style[:50]}"
    if schema.get("type") == "array" and not in_path and part.get("explode") is False:
        return "is a list in one value"
    return "is an object" if schema.get("type") == "object" else None


def _schema_of(part: Part) -> object:
    content = mapping(mapping(part.get("content")).get("application/json"))
    schema = content.get("schema") if content else part.get("schema")
    return schema if isinstance(schema, dict | bool) else {}


# -- bodies ----------------------------------------------------------------------------------------------------------


def _parts(document: Document, node: object, depth: int = 0) -> Iterator[Part]:
    """A schema and those that it is combined of. Raises `Unmapped`."""
    if depth > MAX_DEPTH:
        raise Unmapped("The body combines too many schemas to add parameters to it.")
    part = document.part(node) if isinstance(node, Mapping) else {}
    yield part
    for name in _COMBINED:
        for each in listing(part.get(name)):
            yield from _parts(document, each, depth + 1)


def _has_properties(document: Document, node: object) -> bool:
    return any("properties" in part or part.get("type") == "object" for part in _parts(document, node))


def _names(document: Document, node: object) -> Iterator[str]:
    for part in _parts(document, node):
        yield from mapping(part.get("properties"))


def _is_closed(document: Document, node: object) -> bool:
    return any(
        part.get("additionalProperties", True) not in (True, {}) or any(name in part for name in _CLOSING)
        for part in _parts(document, node)
    )


def _merged(own: dict[str, object], body: Part) -> dict[str, object]:
    """A plain object that forbids other properties, and the parameters among its own."""
    properties = {**mapping(own["properties"]), **mapping(body.get("properties"))}
    required = [*listing(own.get("required")), *listing(body.get("required"))]
    return {**body, "properties": properties, **({"required": required} if required else {})}
