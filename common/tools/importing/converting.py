"""Schemas of an OpenAPI document as JSON Schema 2020-12, each with the definitions that it refers to.

References stay references, so that cycles and repeated parts cost nothing here; `$defs` has what they lead to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from common.kit.jsonschemas import Unusable, compiled
from common.tools import weight
from common.tools.drafts import MAX_SCHEMA_CHARS
from common.tools.importing.document import Document, Unmapped, mapping

MAX_ENUM: Final = 1_000
MAX_TEXT: Final = 1_000
#: Keywords without a meaning for validation here, or that only OpenAPI knows.
_DROPPED: Final = frozenset((
    "$schema", "$id", "$anchor", "$dynamicAnchor", "$comment", "$defs", "definitions", "discriminator", "xml",
    "externalDocs", "example", "nullable", "readOnly", "writeOnly", "deprecated",
))  # fmt: skip
_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+")


class Converter:
    """Converts the schemas of one tool's input or output. `problems`: what was left out of them.

    `sent`: it is what a caller sends, which has no read-only properties; otherwise what the tool answers.
    """

    def __init__(self, document: Document, *, sent: bool) -> None:
        self._document, self._sent = document, sent
        self._names: dict[str, str] = {}
        self._open: list[tuple[str, str]] = []
        self.problems: list[str] = []

    def schema(self, node: object) -> dict[str, object]:
        """The schema with its definitions. Raises `Unmapped`."""
        found = self._convert(self._document.part(node) if isinstance(node, dict) and len(node) == 1 else node)
        converted: dict[str, object] = found if isinstance(found, dict) else {} if found else {"not": {}}
        definitions: dict[str, object] = {}
        while self._open:
            name, ref = self._open.pop()
            self._document.part({"$ref": ref})  # of references alone, no end would be found
            definitions[name] = self._convert(self._document.at(ref))
        if definitions:
            converted = {**converted, "$defs": definitions}
        self._check(converted)
        return converted

    def _check(self, schema: dict[str, object]) -> None:
        if len(json.dumps(schema)) > MAX_SCHEMA_CHARS:
            raise Unmapped(f"A schema has more than {MAX_SCHEMA_CHARS:,} characters with its definitions.")
        try:
            weight.weigh(schema)
        except weight.TooHeavy:
            raise Unmapped(f"A schema's references expand to more than {weight.MOST:,} checks.") from None
        except weight.Unbounded:
            pass  # recursive: it is tried when the tool is made

    def _convert(self, node: object) -> object:
        self._document.step()
        if isinstance(node, bool):
            return node
        if not isinstance(node, dict):
            raise Unmapped("A schema is not an object.")
        if "$ref" in node:
            reference = {"$ref": f"#/$defs/{self._definition(node['$ref'])}"}
            if self._document.is_3_0 or len(node) == 1:
                return reference
            return {**dict(self._keywords(node)), **reference}
        found = dict(self._keywords(node))
        return _nullable(found) if self._document.is_3_0 and node.get("nullable") is True else found

    def _definition(self, ref: object) -> str:
        text = str(ref)
        if text not in self._names:
            self._document.at(ref)
            name = wanted = _NAME.sub("_", text.rsplit("/", 1)[-1])[:80] or "it"
            number = 1
            while name in self._names.values():
                name, number = f"{wanted}_{number + 1}", number + 1
            self._names[text] = name
            self._open.append((name, text))
        return self._names[text]

    def _keywords(self, node: dict[str, object]) -> Iterator[tuple[str, object]]:
        for name, value in node.items():
            if name in _DROPPED or name == "$ref" or name.startswith("x-"):
                continue
            if name == "$dynamicRef":
                raise Unmapped("$dynamicRef is not supported.")
            yield from self._keyword(name, value, node)

    def _keyword(self, name: str, value: object, node: dict[str, object]) -> Iterator[tuple[str, object]]:
        if name in weight.NAMED and isinstance(value, dict):
            hidden = self._hidden(value) if name == "properties" else ()
            yield name, {key: self._convert(each) for key, each in value.items() if key not in hidden}
        elif name == "required" and isinstance(value, list):
            hidden = self._hidden(mapping(node.get("properties")))
            if names := [each for each in value if isinstance(each, str) and each not in hidden]:
                yield name, names
        elif name in weight.MANY and isinstance(value, list):
            yield name, [self._convert(each) for each in value]
        elif name in weight.ONE and isinstance(value, dict | bool):
            yield name, self._convert(value)
        else:
            yield from self._plain(name, value, node)

    def _plain(self, name: str, value: object, node: dict[str, object]) -> Iterator[tuple[str, object]]:
        """Keywords without schemas in them."""
        if name == "enum" and isinstance(value, list) and len(value) > MAX_ENUM:
            self.problems.append(f"An enum of {len(value):,} values was left out: any value is passed on.")
        elif name == "pattern" and not _compiles(value):
            self.problems.append(f"The pattern {str(value)[:100]} is not supported and was left out.")
        elif name in ("exclusiveMinimum", "exclusiveMaximum") and isinstance(value, bool):
            bound = name.removeprefix("exclusive").lower()
            if value and bound in node:
                yield name, node[bound]
        elif name in ("minimum", "maximum") and node.get(f"exclusive{name.capitalize()}") is True:
            return
        elif name in ("title", "description"):
            yield name, str(value)[:MAX_TEXT]
        else:
            yield name, value

    def _hidden(self, properties: object) -> set[str]:
        """Properties that are not in what is sent, or not in what is answered."""
        hidden = "readOnly" if self._sent else "writeOnly"
        return {name for name, each in mapping(properties).items() if mapping(each).get(hidden) is True}


def _nullable(schema: dict[str, object]) -> dict[str, object]:
    kind = schema.get("type")
    if not isinstance(kind, str):
        return {"anyOf": [schema, {"type": "null"}]} if schema else {}
    listed = schema.get("enum")
    enum = {"enum": [*listed, None]} if isinstance(listed, list) and None not in listed else {}
    return {**schema, "type": [kind, "null"], **enum}


def _compiles(pattern: object) -> bool:
    if not isinstance(pattern, str):
        return False
    try:
        compiled({"pattern": pattern})
    except Unusable:
        return False
    return True
