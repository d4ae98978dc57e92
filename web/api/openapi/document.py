"""The finished OpenAPI document: what can only be said once all operations are in it.

`complete` takes what flask-smorest collected and gives back what is served, written by `flask --app wsgi openapi` and
kept in `docs/openapi.json`: shapes with names of their own (so that generated clients have few and readable models),
examples, groups with titles, and the webhooks that we send.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import flask

from web.api.openapi import examples

#: Fields that are sent together or not at all, by schema.
_TOGETHER = {"ProfileChanges": ("password", "current_password")}
#: The groups of the page, by blueprint, in the order in which a reader needs them.
_GROUPS = {
    "auth": "Authentication",
    "users": "Profile and API keys",
    "subscriptions": "Subscriptions",
    "tools": "Tools",
    "invocations": "Invocations",
    "usage": "Usage",
    "webhooks": "Webhooks",
    "events": "Events",
    "admin_users": "Admin: accounts",
    "admin_tools": "Admin: tools",
    "plans": "Admin: plans",
    "admin_invocations": "Admin: invocations",
    "admin_usage": "Admin: usage",
    "admin_audit": "Admin: audit",
    "operations": "Operations",
}
_METHODS = ("get", "post", "patch", "put", "delete")
_SCHEMAS = "#/components/schemas/"


def of(app: flask.Flask) -> dict[str, Any]:
    """The document of an app, whether or not its settings let it be served."""
    return complete(app.extensions["flask-smorest"]["apis"][""]["ext_obj"].spec.to_dict())


def complete(collected: dict[str, Any]) -> dict[str, Any]:
    """The whole document. `collected` is left as it is."""
    spec = deepcopy(collected)
    schemas = spec["components"]["schemas"]
    for _, operation in operations(spec):
        operation["tags"] = [_GROUPS.get(tag, tag) for tag in operation["tags"]]
        _name_answers(operation, schemas)
    _write_patterns_for_everybody(schemas)
    for name, (one, other) in _TOGETHER.items():
        if name in schemas:
            schemas[name]["dependentRequired"] = {one: [other], other: [one]}
    if "Invocation" in schemas:
        spec["webhooks"] = _webhooks()
        schemas.update(_EVENT_SCHEMAS)
    examples.add(spec)
    tags = sorted(spec.pop("tags", []), key=lambda tag: [*_GROUPS, tag["name"]].index(tag["name"]))
    spec["tags"] = [{**tag, "name": _GROUPS.get(tag["name"], tag["name"])} for tag in tags]
    order = ("openapi", "info", "servers", "tags", "paths", "webhooks", "components")
    return {name: spec[name] for name in order if name in spec}


def operations(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation under a name such as `GET /health`."""
    for path, item in spec["paths"].items():
        for method in _METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method]


# -- names for shapes ----------------------------------------------------------------------------------------------


def _name_answers(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Envelopes become schemas with names: `InvocationAnswer`, `InvocationPage`."""
    for response in operation["responses"].values():
        content = response.get("content", {}).get("application/json")
        name = _answer_name(content["schema"]) if content else None
        if content and name:
            schemas[name] = content["schema"]
            content["schema"] = {"$ref": f"{_SCHEMAS}{name}"}


def _answer_name(schema: dict[str, Any]) -> str | None:
    inside = schema.get("properties", {}).get("data", {})
    if "$ref" in inside:
        return f"{inside['$ref'].removeprefix(_SCHEMAS)}Answer"
    if "$ref" in inside.get("items", {}):
        ending = "Page" if "meta" in schema["properties"] else "List"
        return f"{inside['items']['$ref'].removeprefix(_SCHEMAS)}{ending}"
    return "EmptyAnswer" if inside == {"type": "object"} else None


def _write_patterns_for_everybody(node: Any) -> None:
    r"""JSON Schema's patterns are ECMA-262 and unanchored; Python's `\Z` is `$` there, and `match` begins at `^`."""
    if isinstance(node, dict):
        pattern = node.get("pattern")
        if isinstance(pattern, str) and pattern.endswith(r"\Z"):
            node["pattern"] = f"^{pattern.removeprefix('^').removesuffix(chr(92) + 'Z')}$"
        for nested in node.values():
            _write_patterns_for_everybody(nested)
    elif isinstance(node, list):
        for nested in node:
            _write_patterns_for_everybody(nested)


# -- the other direction -------------------------------------------------------------------------------------------

_EVENT_SCHEMAS: dict[str, Any] = {
    "BudgetThreshold": {
        "type": "object",
        "required": ["percent", "granted", "charged", "period_id"],
        "properties": {
            "percent": {"type": "integer", "enum": [80, 100]},
            "granted": {"type": "integer"},
            "charged": {"type": "integer"},
            "period_id": {"type": "string", "format": "uuid"},
        },
    },
    "InvocationReference": {
        "type": "object",
        "description": "All that is sent of an invocation where the body would be above 256 kB: see `links.self`.",
        "required": ["id", "status", "links"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "status": {"type": "string"},
            "links": {"$ref": f"{_SCHEMAS}InvocationLinks"},
        },
    },
    "WebhookTest": {
        "type": "object",
        "required": ["endpoint_id", "message"],
        "properties": {"endpoint_id": {"type": "string", "format": "uuid"}, "message": {"type": "string"}},
    },
}
_SENT_HEADERS = {
    "webhook-id": "The event's id, the same on every attempt: what to recognise repetitions by.",
    "webhook-timestamp": "When this attempt was signed, in seconds since 1970.",
    "webhook-signature": "`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`; several, separated by spaces.",
}
_ENDS = ("succeeded", "failed", "canceled", "expired")


def _webhooks() -> dict[str, Any]:
    """What we send (Standard Webhooks 1.0.0), by event type."""
    states = {state: f"An invocation is {state}" for state in ("queued", "running")}
    states |= {state: f"An invocation has ended as {state}" for state in _ENDS}
    sent = {f"invocation.{state}": (text, "Invocation") for state, text in states.items()}
    sent["budget.threshold"] = ("80 % or 100 % of a period's tokens are charged, told once each", "BudgetThreshold")
    sent["webhook.test"] = ("Somebody asked for a test", "WebhookTest")
    return {name: {"post": _webhook(name, *about)} for name, about in sent.items()}


def _webhook(event_type: str, summary: str, data: str) -> dict[str, Any]:
    forms = (data, "InvocationReference") if data == "Invocation" else (data,)
    refs = [{"$ref": f"{_SCHEMAS}{form}"} for form in forms]
    truncated = {"type": "boolean", "const": True, "description": "Only where `data` is an `InvocationReference`."}
    schema: dict[str, Any] = {
        "type": "object",
        "title": "".join(word.capitalize() for word in event_type.split(".")) + "Event",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"type": "string", "const": event_type},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": {"anyOf": refs} if len(refs) > 1 else refs[0],
        },
    }
    if len(refs) > 1:
        schema["properties"]["truncated"] = truncated
    return {
        "operationId": f"receive_{event_type.replace('.', '_')}",
        "summary": summary,
        "description": "Sent to your endpoint and signed as Standard Webhooks say. Answer within 15 seconds.",
        "tags": [_GROUPS["webhooks"]],
        "security": [],
        "parameters": [_sent_header(name, text) for name, text in _SENT_HEADERS.items()],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "2XX": {"description": "Received."},
            "410": {"description": "Gone: the endpoint is disabled."},
            "429": {"description": "Later: `Retry-After` is honoured."},
            "503": {"description": "Later: `Retry-After` is honoured."},
            "default": {"description": "A failure, redirects too: tried again by the schedule."},
        },
    }


def _sent_header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": True, "description": description, "schema": {"type": "string"}}
