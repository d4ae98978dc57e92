"""Schemas of tools as MCP has them: the root of an input is an object, and in handshake revisions that of an output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from common.tools import Version

Schema = Mapping[str, object]

#: What a value is wrapped under that is no object.
INPUT: Final = "input"
OUTPUT: Final = "output"


def takes_object(schema: Schema) -> bool:
    """Whether every valid input is an object, and the schema says so."""
    return schema.get("type") == "object"


def of_input(version: Version) -> Schema:
    """The `inputSchema`."""
    schema = version.input_schema
    return schema if takes_object(schema) else _wrapped(INPUT, schema, version)


def of_output(version: Version, *, any_value: bool) -> Schema | None:
    """The `outputSchema`. `any_value`: the revision has outputs that are no objects."""
    schema = version.output_schema
    if schema is None or any_value or takes_object(schema):
        return schema
    return _wrapped(OUTPUT, schema, version)


def _wrapped(name: str, schema: Schema, version: Version) -> Schema:
    return {"type": "object", "properties": {name: _whole(name, schema, version)}, "required": [name]}


def _whole(name: str, schema: Schema, version: Version) -> Schema:
    """The schema as a resource of its own if it refers to its own root, which is not the root any more."""
    if "$id" in schema or "'#" not in repr(schema):
        return schema
    return {"$id": f"urn:joyfull-hub:{version.id}:{name}", **schema}
