"""Examples for the OpenAPI document: one value for every body that is sent or shown.

What is asked for is written out, so that it works when it is sent from the interactive page. What is shown is put
together from the schemas: a field's value is its own (`Invocation.status`), or that of its name everywhere.
"""

from __future__ import annotations

from typing import Any

from common.version import VERSION

_EMAIL, _PASSWORD = "ada@example.com", "a quiet green river"
_TEXT = {"text": "What a joy!"}
_PRICE = {"base_tokens": 1, "per_unit": {"pointer": "/units", "tokens": 0.1, "unit": "character"}, "max_tokens": 500}
_INPUT_SCHEMA = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}

#: By schema: what a caller would send, or is shown as a whole.
ASKED: dict[str, Any] = {
    "Registration": {"email": _EMAIL, "password": _PASSWORD, "name": "Ada"},
    "Credentials": {"email": _EMAIL, "password": _PASSWORD},
    "RefreshToken": {"refresh_token": "the refresh_token of the login"},
    "EmailAddress": {"email": _EMAIL},
    "NewPassword": {"password": "another quiet river"},
    "ProfileChanges": {"name": "Ada Lovelace"},
    "ApiKeyIn": {"name": "nightly job", "scopes": ["tools:read", "invocations:read", "invocations:write"]},
    "ApiKeyRotation": {"overlap_seconds": 1800},
    "SubmitIn": {"input": _TEXT, "metadata": {"order": "42"}},
    "QuoteIn": {"input": _TEXT},
    "BatchIn": {"items": [{"tool": "sentiment", "input": _TEXT}, {"tool": "sentiment", "input": {"text": "Alas."}}]},
    "BatchAnswerList": {
        "data": [
            {
                "status": 402,
                "problem": {
                    "type": "https://hub.example/docs/errors#budget_exhausted",
                    "title": "Budget exhausted",
                    "status": 402,
                    "detail": "The token budget of this period does not cover the hold.",
                    "instance": "/api/v1/invocations/batch",
                    "code": "budget_exhausted",
                    "request_id": "0190abcd00007000800000000000000a",
                },
            }
        ]
    },
    "WebhookEndpointIn": {"url": "https://example.com/hooks", "events": ["completed"]},
    "WebhookEndpointChanges": {"status": "enabled"},
    "ReplayIn": {"since": "2027-01-31T00:00:00Z"},
    "SubscribeIn": {"plan": "free"},
    "CancelIn": {"at_period_end": True},
    "UserChanges": {"is_active": False},
    "GrantIn": {"tokens": 5000, "reason": "Goodwill"},
    "ToolIn": {
        "slug": "shout",
        "name": "Shout",
        "endpoint_url": "https://tools.example.com/shout",
        "auth": {"type": "bearer", "secret": "sk-…"},
        "input_schema": _INPUT_SCHEMA,
        "example_input": _TEXT,
        "price": _PRICE,
    },
    "ToolChanges": {"timeout_seconds": 60, "idempotent": True},
    "TrialIn": {"input": _TEXT},
    "PlanIn": {"slug": "team", "name": "Team", "monthly_tokens": 5_000_000, "price_cents": 9900, "currency": "EUR"},
    "PlanChanges": {"rate_limit_per_minute": 1200},
}
#: By name of a field, or by schema and field where that is not enough.
SHOWN: dict[str, Any] = {
    "Health.status": "ok",
    "Health.version": VERSION,
    "Readiness.status": "ready",
    "InvocationLinks.self": "/api/v1/invocations/0190abcd-0000-7000-8000-000000000001",
    "InvocationLinks.cancel": "/api/v1/invocations/0190abcd-0000-7000-8000-000000000001/cancel",
    "InvocationLinks.events": "/api/v1/invocations/0190abcd-0000-7000-8000-000000000001/events",
    "TokenPair.access_token": "eyJhbGciOiJIUzI1NiIs…",
    "TokenPair.refresh_token": "…",
    "TokenPair.expires_in": 900,
    "ApiKeyWithText.key": "jh_…",
    "ApiKey.name": "nightly job",
    "ApiKeyWithText.name": "nightly job",
    "Invocation.status": "succeeded",
    "AdminInvocation.status": "succeeded",
    "Billing.outcome": "charged",
    "Subscription.plan": "free",
    "Plan.name": "Free",
    "Plan.slug": "free",
    "AdminPlan.name": "Free",
    "AdminPlan.slug": "free",
    "User.name": "Ada",
    "AdminUser.name": "Ada",
    "Delivery.status": "delivered",
    "Event.type": "invocation.succeeded",
    "Event.data": {"id": "0190abcd-0000-7000-8000-000000000001", "status": "succeeded"},
    "Delivery.event_type": "invocation.succeeded",
    "UsageGroup.key": "sentiment",
    "UsageSummary.group_by": "tool",
    "WebhookTest.message": "This is a test. Answer with any 2xx status.",
    "BudgetThreshold.granted": 10_000,
    "BudgetThreshold.charged": 8_000,
    "AuditEntry.action": "user.update",
    "AuditEntry.target_type": "user",
    "AuditEntry.target_id": "0190abcd-0000-7000-8000-000000000002",
    "AuditEntry.actor_kind": "session",
    "AuditEntry.before": {"role": "user"},
    "AuditEntry.after": {"role": "admin"},
    "Grant.reason": "Goodwill",
    "Grant.tokens": 5000,
    "WebhookEndpoint.disabled_reason": None,
    "WebhookEndpointWithSecret.disabled_reason": None,
    "PlatformLatencies.p99": 400,
    "Balance.granted": 10_000,
    "Balance.charged": 120,
    "Balance.held": 50,
    "Balance.available": 9_830,
    "Quote.available": 9_830,
    "Quote.reason": None,
    "Trial.status": "succeeded",
    "access_token": "…",
    "attempts": 1,
    "base_tokens": 1,
    "cancel_at_period_end": False,
    "archived_at": None,
    "cancel_requested_at": None,
    "category": "text",
    "charged": 12,
    "currency": "EUR",
    "description": "Whether a text is in good or bad spirits.",
    "duration_ms": 84,
    "email": _EMAIL,
    "endpoint_url": "https://tools.example.com/sentiment",
    "error": None,
    "error_rate": 0.01,
    "example_input": _TEXT,
    "failed": 1,
    "failures": 0,
    "has_more": False,
    "headers": {},
    "held": 50,
    "http_status": 200,
    "input": _TEXT,
    "input_schema": _INPUT_SCHEMA,
    "invocations": 100,
    "ip": "192.0.2.1",
    "last4": "x7Qa",
    "latency_ms": 84,
    "latency_p50_ms": 80,
    "latency_p95_ms": 200,
    "limit": 20,
    "max_attempts": 3,
    "max_concurrency": 10,
    "max_streams": None,
    "max_payload_bytes": None,
    "max_tokens": 500,
    "metadata": {"order": "42"},
    "monthly_tokens": 10_000,
    "name": "Sentiment",
    "next_attempt_at": None,
    "next_cursor": None,
    "oldest_queued_seconds": 0,
    "opened_at": None,
    "output": {"label": "positive", "score": 0.98},
    "output_schema": None,
    "p50": 80,
    "p95": 200,
    "pending_plan": None,
    "per_unit": {"pointer": "/units", "tokens": 0.1, "unit": "character"},
    "percent": 80,
    "plan": "free",
    "poll_after_ms": None,
    "position": 1,
    "prefix": "jh_a1b2c3d4",
    "price_cents": 0,
    "queue_depth": 0,
    "rate_limit_per_minute": 300,
    "reason": None,
    "replayed": 3,
    "request_id": "0190abcd00007000800000000000000a",
    "response_excerpt": "",
    "result_pointer": None,
    "retry_at": None,
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "slug": "sentiment",
    "succeeded": 99,
    "timeout_seconds": 30,
    "token_type": "Bearer",
    "tokens": 12,
    "tokens_used": 1200,
    "url": "https://example.com/hooks",
    "version": 1,
}
#: Of what is not JSON.
TEXTS: dict[str, str] = {
    "text/event-stream": 'id: 3\nevent: snapshot\ndata: {"id": "0190abcd-0000-7000-8000-000000000001", …}\n\n',
    "text/csv": "id,invocation_id,tool,status,tokens_used,latency_ms,http_status,api_key_id,created_at\r\n",
    "application/x-ndjson": '{"id": "0190abcd-0000-7000-8000-000000000001", …}\n',
    "text/plain": "# TYPE joyfull_http_requests_total counter\n",
}
#: Paths are filled in with what a fresh installation has.
PARAMETERS = {"tool": "sentiment", "slug": "free"}
_FORMATS = {
    "uuid": "0190abcd-0000-7000-8000-000000000001",
    "date-time": "2027-01-31T12:00:00Z",
    "email": _EMAIL,
    "uri": "https://example.com/",
}
_TYPES: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.0, "boolean": True, "object": {}, "null": None}


def add(spec: dict[str, Any]) -> None:
    """Give every JSON body, every text and the path parameters of a finished document an example."""
    schemas = spec["components"]["schemas"]
    for path in spec["paths"].values():
        _fill_in(path.get("parameters", []))
        for operation in path.values():
            if isinstance(operation, dict):
                _exemplify(operation, schemas)
    for webhook in spec.get("webhooks", {}).values():
        _exemplify(webhook["post"], schemas)


def _fill_in(parameters: list[Any]) -> None:
    for parameter in parameters:
        if parameter.get("name") in PARAMETERS:
            parameter["example"] = PARAMETERS[parameter["name"]]


def _exemplify(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    for body in (operation.get("requestBody", {}), *operation["responses"].values()):
        for media_type, content in body.get("content", {}).items():
            if media_type == "application/json":
                content["example"] = value(content["schema"], schemas)
            elif media_type in TEXTS:
                content["example"] = TEXTS[media_type]


def value(schema: dict[str, Any], schemas: dict[str, Any], name: str = "", field: str = "") -> Any:
    """An example of `schema`, which is what the schema called `name` has in its `field`."""
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


def _by_type(schema: dict[str, Any], schemas: dict[str, Any], name: str) -> Any:
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return [value(schema.get("items", {}), schemas, name)]
    if kind == "object" and "properties" in schema:
        return {field: value(inner, schemas, name, field) for field, inner in schema["properties"].items()}
    return _FORMATS.get(schema.get("format", ""), _TYPES[kind])
