"""Examples for the OpenAPI document: one for every request and response body.

Request bodies are given in full (`ASKED`), so that they work when sent from the interactive page. Response bodies are
composed from the schemas: the value of a field is that of `Schema.field` in `SHOWN`, or else that of its name.
"""

from __future__ import annotations

from web.api.openapi import example_states
from web.api.openapi.components import Part
from web.api.openapi.example_values import ASKED, FORMATS, NOT_SHOWN, PARAMETERS, SHOWN, TEXTS, TYPES


def add(spec: Part) -> None:
    """Add an example to every JSON body, every text body and the path parameters of the document."""
    schemas = spec["components"]["schemas"]
    for path in spec["paths"].values():
        _fill_in(path.get("parameters", []))
        for operation in path.values():
            if isinstance(operation, dict):
                _exemplify(operation, schemas)
    for webhook in spec.get("webhooks", {}).values():
        _exemplify(webhook["post"], schemas)


def _fill_in(parameters: list[Part]) -> None:
    for parameter in parameters:
        if parameter.get("name") in PARAMETERS:
            parameter["example"] = PARAMETERS[parameter["name"]]


def _exemplify(operation: Part, schemas: Part) -> None:
    for status, body in (("", operation.get("requestBody", {})), *operation["responses"].items()):
        for media_type, content in body.get("content", {}).items():
            if media_type in ("application/json", "text/event-stream") and "schema" in content:
                found = value(content["schema"], schemas)
                content["example"] = example_states.fitted(found, operation, status, content["schema"])
            elif media_type in TEXTS:
                content["example"] = TEXTS[media_type]


def value(schema: Part, schemas: Part, name: str = "", field: str = "") -> object:
    """An example of `schema`, which is that of `field` in the schema called `name`."""
    if len(alone := schema.get("allOf", ())) == 1:
        schema = alone[0]
    if (key := f"{name}.{field}") in SHOWN:
        return SHOWN[key]
    if field in SHOWN and "$ref" not in schema and schema.get("type") != "array":
        return SHOWN[field]
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return ASKED[name] if name in ASKED else value(schemas[name], schemas, name)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return value(choices[0], schemas, name)
    return _by_type(schema, schemas, name)


def _by_type(schema: Part, schemas: Part, name: str) -> object:
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return [value(schema.get("items", {}), schemas, name)]
    if kind == "object" and "properties" in schema:
        shown = {field: inner for field, inner in schema["properties"].items() if f"{name}.{field}" not in NOT_SHOWN}
        return {field: value(inner, schemas, name, field) for field, inner in shown.items()}
    return FORMATS.get(schema.get("format", ""), TYPES[kind])
