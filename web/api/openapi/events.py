"""The webhooks of the OpenAPI document: every type of event, and what is sent of it."""

from __future__ import annotations

import re

from common.models.accounts import WINDOWS
from common.models.budgets import THRESHOLDS
from common.models.invocations import STATUSES
from common.models.subscriptions import SUBSCRIPTION_STATUSES
from common.models.webhooks import EVENTS, INVOCATION_TYPES
from web.api.openapi.components import Part, one_of

_SCHEMAS = "#/components/schemas/"
_SCHEMAS_OF_DATA: Part = {
    "BudgetThreshold": {
        "type": "object",
        "required": ["percent", "granted", "charged", "period_id"],
        "properties": {
            "percent": {"type": "integer", "enum": list(THRESHOLDS)},
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
            "status": {"type": "string", "enum": list(STATUSES)},
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


#: What `data` of each event in the stream of an invocation can be, beside the invocation itself.
_STREAMED: Part = {
    "OutputPart": {
        "type": "object",
        "description": "Of `output.delta` (write on) and `output.snapshot` (drop what you have, then write on).",
        "required": ["attempt", "n", "choices"],
        "properties": {
            "attempt": {"type": "integer", "minimum": 1},
            "n": {"type": "integer", "minimum": 0},
            "choices": {
                "type": "array",
                "description": "As in a `chat.completion.chunk`: each has an `index` and a `delta`.",
                "items": {"type": "object", "additionalProperties": True},
            },
        },
    },
    "OutputReset": {
        "type": "object",
        "description": "Of `output.reset`: drop what you have.",
        "required": ["attempt"],
        "properties": {"attempt": {"type": "integer", "minimum": 1}},
    },
    "InvocationStreamData": {
        "description": "The `data` of one server-sent event, by its `event`: of `snapshot` and `invocation.*` the "
        "invocation.",
        "anyOf": [{"$ref": f"{_SCHEMAS}{name}"} for name in ("Invocation", "OutputPart", "OutputReset")],
    },
}


def webhooks(tag: str) -> Part:
    """The webhooks that we send (Standard Webhooks 1.0.0), by event type."""
    return {kind: {"post": _webhook(kind, summary, tag)} for kind, summary in EVENTS.items()}


def describe_streams(operation: Part) -> None:
    """Give streams a schema. OpenAPI 3.1 has none for their items; generators take it for that of an event's `data`."""
    for response in operation["responses"].values():
        if "text/event-stream" in (content := response.get("content", {})):
            content["text/event-stream"]["schema"] = {"$ref": f"{_SCHEMAS}InvocationStreamData"}


def schemas() -> Part:
    """The schemas of events and of what is streamed, by name; any object for a type whose data has none of its own."""
    of_types = {_data(kind): {"type": "object"} for kind in EVENTS if kind not in INVOCATION_TYPES}
    members = {_member(kind): _event(kind) for kind in EVENTS}
    union = {
        "description": "What has happened, by `type`.",
        **one_of({kind: _member(kind) for kind in EVENTS}, "type"),
    }
    return {**of_types, **_SCHEMAS_OF_DATA, **_STREAMED, **members, "Event": union}


def _data(kind: str) -> str:
    """The name of the schema of an event's data: `BudgetThreshold` of `budget.threshold`."""
    return "Invocation" if kind in INVOCATION_TYPES else _name(kind)


def _name(kind: str) -> str:
    return "".join(word.capitalize() for word in re.split(r"[._]", kind))


def _member(kind: str) -> str:
    """The name of the schema of an event in the feed; all that are about an invocation have one."""
    return "InvocationEvent" if kind in INVOCATION_TYPES else f"{_name(kind)}Event"


def _in_the_feed(kind: str) -> Part:
    """What `data` of an event is there."""
    if kind not in INVOCATION_TYPES:
        return {"$ref": f"{_SCHEMAS}{_data(kind)}"}
    gone = "The invocation as it was then; null once it is not kept any more."
    return {"description": gone, "anyOf": [{"$ref": f"{_SCHEMAS}ListedInvocation"}, {"type": "null"}]}


def _event(kind: str) -> Part:
    about = kind in INVOCATION_TYPES
    of = {"type": "string", **({"enum": list(INVOCATION_TYPES)} if about else {"const": kind})}
    return {
        "type": "object",
        "required": ["id", "type", "timestamp", "data"],
        "properties": {
            "id": {
                "type": "string",
                "format": "uuid",
                "description": "The `webhook-id` under which it is sent to endpoints.",
            },
            "type": of,
            "timestamp": {"type": "string", "format": "date-time"},
            "data": _in_the_feed(kind),
        },
    }


def _body(kind: str) -> Part:
    """What is sent of an event: its id is a header."""
    forms = ("Invocation", "InvocationReference") if kind in INVOCATION_TYPES else (_data(kind),)
    refs = [{"$ref": f"{_SCHEMAS}{form}"} for form in forms]
    truncated = {"type": "boolean", "const": True, "description": "Present only if `data` is an `InvocationReference`."}
    return {
        "type": "object",
        "title": f"{_name(kind)}Body",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"type": "string", "const": kind},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": {"anyOf": refs} if len(refs) > 1 else refs[0],
            **({"truncated": truncated} if len(refs) > 1 else {}),
        },
    }


def _webhook(event_type: str, summary: str, tag: str) -> Part:
    return {
        "operationId": f"receive_{event_type.replace('.', '_')}",
        "summary": summary,
        "description": "Sent to your endpoint, signed according to Standard Webhooks. Respond within 15 seconds.",
        "tags": [tag],
        "security": [],
        "parameters": [_sent_header(name, text) for name, text in _SENT_HEADERS.items()],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _body(event_type)}}},
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
