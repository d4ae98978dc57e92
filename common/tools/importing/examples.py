"""Examples of a tool's input, as far as the document has some."""

from __future__ import annotations

from common.tools.importing.document import Document, Part, Unmapped, mapping


def of_media(document: Document, media: Part) -> object:
    """The first example of a body; None without one."""
    if "example" in media:
        return media["example"]
    for node in mapping(media.get("examples")).values():
        try:
            return document.part(node).get("value")
        except Unmapped:
            continue
    try:
        return _of_schema(document.part(media.get("schema", {})))
    except Unmapped:
        return None


def of_parameters(parameters: list[Part]) -> object:
    """An example of each parameter that has one; None where one that is required has none."""
    found: dict[str, object] = {}
    for part in parameters:
        schema = mapping(part.get("schema"))
        value = part.get("example", _of_schema(schema))
        if value is not None:
            found[str(part.get("name"))] = value
        elif part.get("required") is True:
            return None
    return found


def beside(parameters: object, body: object) -> object:
    """An input with the properties of both; None where one of them has no example."""
    if isinstance(parameters, dict) and isinstance(body, dict):
        return {**parameters, **body}
    return None


def _of_schema(schema: Part) -> object:
    several = schema.get("examples")
    if isinstance(several, list) and several:
        return several[0]
    return schema.get("example", schema.get("default"))
