"""The final OpenAPI document: what can be added only when all operations are known.

`complete` turns what flask-smorest collected into the document that is served, printed by `flask --app wsgi openapi`
and committed as `docs/openapi.json`. It adds named schemas (so that generated clients have few, readable models),
examples, groups with titles, and the webhooks that we send.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import flask

from web.api.openapi import elsewhere, enumerations, events, examples, mcp
from web.api.openapi.components import Part

#: Pairs of fields that require each other, by schema.
_TOGETHER = {"ProfileChanges": ("password", "current_password")}
#: Titles of the groups, by blueprint, in the order of the documentation page.
_GROUPS = {
    "auth": "Authentication",
    "users": "Profile and API keys",
    "attention": "Attention",
    "keys": "Delegated keys",
    "sessions": "Sessions",
    "subscriptions": "Subscriptions",
    "statements": "Statements",
    "tools": "Tools",
    "invocations": "Invocations",
    "receipts": "Receipts",
    "signing_keys": "Signing keys",
    "schedules": "Schedules",
    "usage": "Usage",
    "forecasts": "Forecast",
    "webhooks": "Webhooks",
    "events": "Events",
    "admin_users": "Admin: accounts",
    "admin_tools": "Admin: tools",
    "tool_imports": "Admin: importing tools",
    "plans": "Admin: plans",
    "admin_invocations": "Admin: invocations",
    "admin_usage": "Admin: usage",
    "admin_audit": "Admin: audit",
    "admin_operations": "Admin: operations",
    "operations": "Operations",
}
_METHODS = ("get", "post", "patch", "put", "delete")
_SCHEMAS = "#/components/schemas/"


def of(app: flask.Flask) -> Part:
    """The document of an app, whether or not its settings allow serving it."""
    return complete(app.extensions["flask-smorest"]["apis"][""]["ext_obj"].spec.to_dict())


def complete(collected: Part) -> Part:
    """The complete document; does not modify `collected`."""
    spec = deepcopy(collected)
    schemas = spec["components"]["schemas"]
    for _, operation in operations(spec):
        operation["tags"] = [_GROUPS.get(tag, tag) for tag in operation["tags"]]
        _name_answers(operation, schemas)
        _spell_objects(operation)
    _translate(schemas)
    _translate(spec["paths"])
    for name, (one, other) in _TOGETHER.items():
        if name in schemas:
            schemas[name]["dependentRequired"] = {one: [other], other: [one]}
    if "Invocation" in schemas:  # not in an application that tests have put together
        spec["webhooks"] = events.webhooks(_GROUPS["webhooks"])
        schemas.update(deepcopy(events.schemas()))
        for _, operation in operations(spec):
            events.describe_streams(operation)
    enumerations.name(spec)
    _unwrap_siblings(spec)
    examples.add(spec)
    spec["paths"].update(elsewhere.paths() | mcp.paths())
    tags = sorted(spec.pop("tags", []), key=lambda tag: [*_GROUPS, tag["name"]].index(tag["name"]))
    spec["tags"] = [{**tag, "name": _GROUPS.get(tag["name"], tag["name"])} for tag in tags] + [elsewhere.TAG, mcp.TAG]
    order = ("openapi", "info", "servers", "tags", "paths", "webhooks", "components")
    return {name: spec[name] for name in order if name in spec}


def operations(spec: Part) -> Iterator[tuple[str, Part]]:
    """Every operation with a name such as `GET /health`."""
    for path, item in spec["paths"].items():
        for method in _METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method]


# -- named schemas -------------------------------------------------------------------------------------------------


def _name_answers(operation: Part, schemas: Part) -> None:
    """Move inline envelopes to named schemas: `InvocationAnswer`, `InvocationPage`."""
    for response in operation["responses"].values():
        content = response.get("content", {}).get("application/json")
        name = _answer_name(content["schema"]) if content else None
        if content and name:
            schemas[name] = content["schema"]
            content["schema"] = {"$ref": f"{_SCHEMAS}{name}"}


def _spell_objects(operation: Part) -> None:
    """An object in a query is `name[key]=value` for each of its members."""
    for parameter in operation.get("parameters", []):
        if parameter.get("in") == "query" and parameter["schema"].get("type") == "object":
            parameter.update(style="deepObject", explode=True)


def _answer_name(schema: Part) -> str | None:
    inside = schema.get("properties", {}).get("data", {})
    if "$ref" in inside:
        return f"{inside['$ref'].removeprefix(_SCHEMAS)}Answer"
    if "$ref" in inside.get("items", {}):
        ending = "Page" if "meta" in schema["properties"] else "List"
        return f"{inside['items']['$ref'].removeprefix(_SCHEMAS)}{ending}"
    return "EmptyAnswer" if inside == {"type": "object"} else None


def _unwrap_siblings(node: object) -> None:
    """A reference stands alone: many tools ignore what is beside it. What was beside it goes around it."""
    if isinstance(node, dict):
        if "$ref" in node and len(node) > 1:
            node["allOf"] = [{"$ref": node.pop("$ref")}]
        for nested in node.values():
            _unwrap_siblings(nested)
    elif isinstance(node, list):
        for nested in node:
            _unwrap_siblings(nested)


def _translate(node: object) -> None:
    r"""Translate Python patterns to ECMA-262 with anchors: `\Z` becomes `$`, and `match` implies `^`.

    The length of an object is its number of members, which JSON Schema calls `maxProperties`.
    """
    if isinstance(node, dict):
        if node.get("type") == "object" and isinstance(node.get("maxLength"), int):
            node["maxProperties"] = node.pop("maxLength")
        pattern = node.get("pattern")
        if isinstance(pattern, str) and pattern.endswith(r"\Z"):
            node["pattern"] = f"^{pattern.removeprefix('^').removesuffix(chr(92) + 'Z')}$"
        for nested in node.values():
            _translate(nested)
    elif isinstance(node, list):
        for nested in node:
            _translate(nested)
