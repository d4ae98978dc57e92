"""What the served OpenAPI 3.1 document says about every operation, said once.

`contract` runs for each operation as flask-smorest documents it: it adds the security schemes of the view's
policy, every problem that the operation can answer with, and the headers that every answer carries.
What the operations share is in `components.py`, what is done to the finished document in `document.py`.
"""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from common import errors
from common.errors import PlatformError
from web.api.openapi import components, problem_components
from web.http import problems
from web.http.auth import Policy

DESCRIPTION = """\
AI tools as billed, durable jobs: submit an invocation, follow it, get its result and its price.

**Answers** are JSON: one resource is `{"data": {…}}`, a list
`{"data": […], "meta": {"limit", "has_more", "next_cursor"}}` with a `Link: <…>; rel="next"` while there is more.
Times are RFC 3339 in UTC, ids UUIDs in lower case, amounts integers up to 2^53-1. Lists are newest first, but for
`/events`; `from` is inclusive, `to` exclusive, both on `created_at`. Unknown body fields and unknown or repeated query
parameters are refused; `status` may repeat and means any of them.

**Errors** are `application/problem+json` (RFC 9457). Branch on `code`; `type` leads to what it means
([all of them](/docs/errors)).

**Credentials**: an access token or an API key as `Authorization: Bearer …`, or an API key as `X-API-Key`; never both.

**Limits**: `RateLimit-Policy` and `RateLimit` are on every authenticated answer, `Retry-After` on every 429 and 503. A
plan's rate counts submits, each item of a batch as one, and never reads; an account has 6,000 reads a minute. A plan's
`max_concurrency` refuses nothing: it bounds what runs at once. A body has at most 1 MiB, if the operator left it so,
and 200,000 values; at most 16 kB where no credentials are asked for. A page of a list ends, with `has_more`, before its
`input` and `output` are more than 1 MiB. Of an account a few large reads run at a time; the next ones wait a while for
their turn, and are then refused (429). An account has a plan's `max_streams` event streams and long-polls at once; one
more is refused (429), and a submit that would have waited is answered 202.

**Cost** is counted in tokens, the platform's unit of budget. A submit holds the smaller of the price's and the caller's
`max_tokens`. Success costs `base_tokens` + `tokens` × (the number at `pointer` in the tool's answer), rounded up and
never above the price's own `max_tokens`. A `max_tokens` of yours below that is a limit: the tool is told, and a call
that costs more all the same ends `failed` with `cost_exceeded`, its output withheld and the hold charged. What else
failed, expired or was canceled before it ran is free; what was canceled while it ran too, unless the tool's answer was
already complete: then it costs what success costs.

**States**: `queued`, `running`, and one of the ends `succeeded`, `failed`, `canceled`, `expired`. While it waits for a
retry an invocation is `queued` again. `expired` means that the deadline passed before it ever started; one that passes
between two attempts ends as `failed`, with the last error.

**Request ids**: send `X-Request-ID` (1-128 of `A-Za-z0-9._-`) or take ours; it follows the work everywhere.

**Methods**: every GET also answers HEAD and every path OPTIONS. Every answer has `Cache-Control` (`no-store`, or
`private, no-cache` beside an ETag), `Content-Security-Policy`, `Referrer-Policy` and `X-Content-Type-Options`.

**Try it out** on this page: register, log in, put the `access_token` into *Authorize*, subscribe to `free`, and
invoke a tool.
"""

header_ref = components.header_ref


class ListOf:
    """Marks a response schema as a list with `meta`; stands where flask-smorest expects a schema to dump with."""

    def __init__(self, schema: type[ma.Schema]) -> None:
        self.schema = schema

    def dump(self, page: Any) -> Any:
        return page


def envelope(schema: Any) -> Any:
    """The documented shape of an answer: `{"data": …}`, for lists with `meta`."""
    if schema is None:
        return None
    if isinstance(schema, ListOf):
        return {
            "type": "object",
            "required": ["data", "meta"],
            "properties": {
                "data": {"type": "array", "items": schema.schema},
                "meta": {"$ref": "#/components/schemas/PageMeta"},
            },
        }
    if isinstance(schema, ma.Schema) and schema.many:
        schema = {"type": "array", "items": type(schema)}
    return {"type": "object", "required": ["data"], "properties": {"data": schema}}


def media_types(view: Any) -> list[str]:
    """What a documented view may answer with on success."""
    answers = view._apidoc.get("response", {}).get("responses", {}).values()
    found = {answer["content_type"] for listed in answers for answer in listed if isinstance(answer, dict)}
    return sorted(media_type or "application/json" for media_type in found) or ["application/json"]


# -- one operation -------------------------------------------------------------------------------------------------


def contract(doc: dict[str, Any], info: dict[str, Any], *, method: str, spec: Any, **_: Any) -> dict[str, Any]:
    """Complete one operation's documentation (a flask-smorest doc callback)."""
    noted = info.get("contract", {})
    policy = noted["policy"]
    doc["operationId"] = noted["operation_id"]
    doc["security"] = _security(policy)
    _explain_access(info, policy)
    _success(doc, noted.get("texts", {}), public=policy.kind == "public")
    doc.setdefault("responses", {}).update(_problems(spec, doc, noted, method))
    doc.setdefault("parameters", []).extend(["X-Request-ID", *noted.get("headers", [])])
    return doc


def _security(policy: Policy) -> list[dict[str, list[str]]]:
    """The schemes that are taken, keys with the scope that they need."""
    if policy.kind == "public":
        return []
    scopes = [policy.scope] if policy.scope else []
    keys = [] if policy.kind == "session" else [{"apiKey": scopes}, {"apiKeyAsBearer": scopes}]
    return [{"accessToken": []}, *keys]


_ACCESS = {
    "public": "*Open to everybody.*",
    "session": "*Needs a session*: API keys are refused.",
    "signed_in": "*Needs any credential*, whatever its scopes.",
    "scope": "*Needs a session or an API key with the scope* `{scope}`.",
    "admin": "*Needs an admin*, by session or by an API key with the scope `admin`.",
}


def _explain_access(info: dict[str, Any], policy: Policy) -> None:
    said = _ACCESS[policy.kind].format(scope=policy.scope)
    docstring = info["docstring"]
    docstring["description"] = "\n\n".join(part for part in (docstring.get("description"), said) if part)


_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
#: Readers of streams differ in whether a schema is that of the whole or of each event: the description says it.
_TEXT_SCHEMAS: dict[str, dict[str, Any]] = {"text/event-stream": {}}


def _success(doc: dict[str, Any], texts: dict[int, list[str]], *, public: bool) -> None:
    """The headers of every success, and the bodies that no schema describes."""
    names = ["X-Request-ID"] if public else ["X-Request-ID", "RateLimit-Policy", "RateLimit"]
    for status, response in doc.get("responses", {}).items():
        response.setdefault("headers", {}).update({name: header_ref(name) for name in names})
        if media_types := texts.get(int(status)):
            response["content"] = {name: dict(_TEXT_SCHEMAS.get(name, _TEXT)) for name in media_types}
        elif "content" not in response and int(status) not in (204, 304):
            empty = {"type": "object", "required": ["data"], "properties": {"data": {"type": "object"}}}
            response["content"] = {"application/json": {"schema": empty}}


def _problems(spec: Any, doc: dict[str, Any], noted: dict[str, Any], method: str) -> dict[str, str]:
    """By status, the name of the shared response that lists its codes."""
    policy: Policy = noted["policy"]
    public = policy.kind == "public"
    queried = {name for parameter in doc.get("parameters", []) for name in parameter["schema"].fields}
    kinds = [
        *_ANY,
        *([errors.InvalidCursor] if "cursor" in queried else []),
        *([errors.NotFound] if noted.get("in_path") else []),
        *(_OF_BODIES if method in {"post", "patch", "put"} else []),
        *([] if public else _OF_CALLERS + _OF_POLICIES[policy.kind]),
        *noted.get("raises", []),
    ]
    by_status: dict[int, list[type[PlatformError]]] = {}
    for kind in kinds:
        by_status.setdefault(problems.status_of(kind), []).append(kind)
    return {
        str(status): problem_components.response_name(spec, status, by_status[status], public=public)
        for status in sorted(by_status)
    }


Kinds = list[type[PlatformError]]
_ANY: Kinds = [
    errors.Malformed,
    problems.MethodNotAllowed,
    problems.NotAcceptable,
    errors.TooLarge,
    problems.UriTooLong,
    errors.Invalid,
    problems.HeadersTooLarge,
    problems.InternalError,
    errors.DependencyUnavailable,
]
_OF_BODIES: Kinds = [
    errors.MalformedJson,
    errors.BodyRequired,
    errors.DuplicateKey,
    errors.TooDeep,
    problems.RequestTimeout,
    problems.UnsupportedMediaType,
]
_OF_CALLERS: Kinds = [
    errors.InvalidHeader,
    errors.Unauthenticated,
    errors.TokenExpired,
    errors.TokenRevoked,
    errors.RateLimited,
]
_OF_POLICIES: dict[str, Kinds] = {
    "signed_in": [],
    "session": [errors.Forbidden],
    "scope": [errors.ScopeMissing],
    "admin": [errors.Forbidden, errors.ScopeMissing],
}
