"""The webhooks of the OpenAPI document: every type of event, and what is sent of it."""

from __future__ import annotations

import re

from common.models.accounts import WINDOWS
from common.models.subscriptions import SUBSCRIPTION_STATUSES
from common.models.webhooks import EVENTS, INVOCATION_TYPES
from web.api.openapi.components import Part

_SCHEMAS = "#/components/schemas/"
_SCHEMAS_OF_DATA: Part = {
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
    "ApiKeyAllowanceReached": {
        "type": "object",
        "required": ["api_key_id", "tokens", "window", "charged", "held", "resets_at"],
        "properties": {
            "api_key_id": {"type": "string", "format": "uuid"},
            "tokens": {"type": "integer"},
            "window": {"type": "string", "enum": list(WINDOWS)},
            "charged": {"type": "integer"},
            "held": {"type": "integer"},
            "resets_at": {"type": ["string", "null"], "format": "date-time"},
        },
    },
    "InvocationReference": {
        "type": "object",
        "description": "Sent in place of an invocation if the body would exceed 256 kB; fetch it from `links.self`.",
        "required": ["id", "status", "links"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "status": {"type": "string"},
            "links": {"$ref": f"{_SCHEMAS}InvocationLinks"},
        },
    },
    "ScheduleRefused": {
        "type": "object",
        "required": ["schedule_id", "tool", "at", "problem"],
        "properties": {
            "schedule_id": {"type": "string", "format": "uuid"},
            "tool": {"type": "string"},
            "at": {"type": "string", "format": "date-time", "description": "The time that it was for."},
            "problem": {
                "type": "object",
                "required": ["code", "title", "detail"],
                "properties": {name: {"type": "string"} for name in ("code", "title", "detail")},
            },
        },
    },
    "SubscriptionChanged": {
        "type": "object",
        "required": [
            "plan",
            "status",
            "current_period_start",
            "current_period_end",
            "cancel_at_period_end",
            "pending_plan",
        ],
        "properties": {
            "plan": {"type": "string"},
            "status": {"type": "string", "enum": list(SUBSCRIPTION_STATUSES)},
            "current_period_start": {"type": "string", "format": "date-time"},
            "current_period_end": {"type": "string", "format": "date-time"},
            "cancel_at_period_end": {"type": "boolean"},
            "pending_plan": {"type": ["string", "null"]},
        },
    },
    "WebhookDisabled": {
        "type": "object",
        "required": ["endpoint_id", "url", "disabled_reason"],
        "properties": {
            "endpoint_id": {"type": "string", "format": "uuid"},
            "url": {"type": "string", "format": "uri"},
            "disabled_reason": {"type": "string", "enum": ["gone", "failing"]},
        },
    },
    "WebhookTest": {
        "type": "object",
        "required": ["endpoint_id", "message"],
        "properties": {"endpoint_id": {"type": "string", "format": "uuid"}, "message": {"type": "string"}},
    },
}
_SENT_HEADERS = {
    "webhook-id": "The id of the event, the same for every attempt; use it to detect duplicates.",
    "webhook-timestamp": "When this attempt was signed, in seconds since 1970 (UTC).",
    "webhook-signature": "`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`; several, separated by spaces.",
}


def webhooks(tag: str) -> Part:
    """The webhooks that we send (Standard Webhooks 1.0.0), by event type."""
    return {kind: {"post": _webhook(kind, summary, _data(kind), tag)} for kind, summary in EVENTS.items()}


def schemas() -> Part:
    """The schemas of their data, by name; of any object for a type that has none of its own."""
    of_types = {_data(kind): {"type": "object"} for kind in EVENTS if _data(kind) != "Invocation"}
    return {**of_types, **_SCHEMAS_OF_DATA}


def _data(kind: str) -> str:
    """The name of the schema of an event's data: `BudgetThreshold` of `budget.threshold`."""
    return "Invocation" if kind in INVOCATION_TYPES else _name(kind)


def _name(kind: str) -> str:
    return "".join(word.capitalize() for word in re.split(r"[._]", kind))


def _webhook(event_type: str, summary: str, data: str, tag: str) -> Part:
    forms = (data, "InvocationReference") if data == "Invocation" else (data,)
    refs = [{"$ref": f"{_SCHEMAS}{form}"} for form in forms]
    truncated = {"type": "boolean", "const": True, "description": "Present only if `data` is an `InvocationReference`."}
    schema: Part = {
        "type": "object",
        "title": f"{_name(event_type)}Event",
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
        "description": "Sent to your endpoint, signed according to Standard Webhooks. Respond within 15 seconds.",
        "tags": [tag],
        "security": [],
        "parameters": [_sent_header(name, text) for name, text in _SENT_HEADERS.items()],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "2XX": {"description": "Received."},
            "410": {"description": "Gone: disables the endpoint."},
            "429": {"description": "Retry later; `Retry-After` is honoured."},
            "503": {"description": "Retry later; `Retry-After` is honoured."},
            "default": {"description": "A failure, including redirects: retried on schedule."},
        },
    }


def _sent_header(name: str, description: str) -> Part:
    return {"name": name, "in": "header", "required": True, "description": description, "schema": {"type": "string"}}
