"""The parts of the OpenAPI 3.1 document that all operations have in common.

`contract` runs for each operation while flask-smorest documents it. It adds the security schemes of the view's policy,
every problem that the operation can return, and the headers of every response. `document.py` completes the document.
"""

from __future__ import annotations

from collections.abc import Callable

import marshmallow as ma

from common import errors
from common.errors import PlatformError
from web.api.openapi import components, problem_components
from web.api.openapi.components import Collected, Part
from web.http import problems
from web.http.auth import AccessPolicy

DESCRIPTION = """\
AI tools as billed, durable jobs: submit an invocation, follow its progress, get its result and its cost.

**Responses** are JSON: one resource is `{"data": {…}}`, a list is
`{"data": […], "meta": {"limit", "has_more", "next_cursor"}}` with a `Link: <…>; rel="next"` header if there is more.
Times are RFC 3339 in UTC, ids are UUIDs in lower case, amounts are integers up to 2^53-1. Lists are ordered newest
first, except `/events`; `from` is inclusive, `to` exclusive, both refer to `created_at`. Unknown body fields and
unknown or repeated query parameters are refused; `status` can be repeated to match any of several.

**Errors** are `application/problem+json` (RFC 9457). Branch on `code`; `type` links to its documentation
([all codes](/docs/errors)).

**Repetitions**: every POST that creates, grants or spends takes an `Idempotency-Key`; the same request with the same
key within 24 hours gets what the first one made. A secret that is shown once is shown again for ten minutes, then 409
`conflict`. Anywhere else the header is refused. PATCH and DELETE take `If-Match` with the `ETag` of the resource (412
`precondition_failed`); what has none is not deleted if one is expected.

**Credentials**: an access token or an API key as `Authorization: Bearer …`, or an API key as `X-API-Key`; not both.

**Limits**: every authenticated response has `RateLimit-Policy` and `RateLimit`; every 429 and 503 has `Retry-After`.
The rate of a plan counts submits, each item of a batch as one, and not reads; an account has 6,000 reads a minute. The
`max_concurrency` of a plan, and of an API key within it, limits how many invocations run concurrently; the others wait.
A body can have 1 MiB (a setting of the operator) and 200,000 values; without credentials, 16 kB. Bodies above 32 kB are
parsed one by one, accounts in turn; one that waits for ten seconds is refused (429). A page of a list ends early, with
`has_more`, when its `input` and `output` reach 1 MiB in total. A few large reads of an account run at once; further
ones wait a few seconds and are then refused (429). Header fields have 16 kB each, and 32 kB in all (431); an `Accept`
above 1,000 characters is disregarded. An account can have `max_streams` concurrent event streams and long-polls; one
more is refused (429), and a submit that would have waited is answered with 202.

**Cost** is counted in tokens, the platform's unit of budget. A submit holds the smaller of the price's and the caller's
`max_tokens`. A successful call costs `base_tokens` + `tokens` × (the number at `pointer` in the tool's response),
rounded up, at most the `max_tokens` of the price. If your own `max_tokens` is lower, it is a limit: it is passed to the
tool, and a call that still costs more ends as `failed` with `cost_exceeded`; its output is withheld and the hold is
charged. Other failures, expiry and cancellation are free, except cancellation after the tool's response was complete,
which costs the same as success.

**States**: `queued`, `running`, and the final states `succeeded`, `failed`, `canceled`, `expired`. An invocation that
waits for a retry is `queued` again. `expired` means that the deadline passed before it started; if the deadline passes
between two attempts, it ends as `failed` with the last error.

**Request ids**: send `X-Request-ID` (1-128 characters of `A-Za-z0-9._-`) or use the one we generate; it appears in all
logs and is passed on to the tool.

**Methods**: every GET also supports HEAD, and every path OPTIONS. Every response has `Cache-Control` (`no-store`, or
`private, no-cache` where `If-None-Match` is taken), `Content-Security-Policy`, `Referrer-Policy` and
`X-Content-Type-Options`.

**Try it out** on this page: register, log in, enter the `access_token` under *Authorize*, subscribe to `free`, and
invoke a tool.
"""

header_ref = components.header_ref


class ListOf:
    """Marks a response schema as a list with `meta`; passed to flask-smorest in place of a schema."""

    def __init__(self, schema: type[ma.Schema]) -> None:
        self.schema = schema

    def dump(self, page: object) -> object:
        return page


#: The schema of a response, or None for text and for nothing.
Documented = ma.Schema | type[ma.Schema] | ListOf | None


def envelope(schema: Documented) -> Part | None:
    """The documented envelope of a response: `{"data": …}`, for lists with `meta`."""
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
    many = isinstance(schema, ma.Schema) and schema.many
    data = {"type": "array", "items": type(schema)} if many else schema
    return {"type": "object", "required": ["data"], "properties": {"data": data}}


def media_types(view: Callable[..., object]) -> list[str]:
    """The media types of a view's successful responses."""
    answers = getattr(view, "_apidoc", {}).get("response", {}).get("responses", {}).values()
    found = {answer["content_type"] for listed in answers for answer in listed if isinstance(answer, dict)}
    return sorted(media_type or "application/json" for media_type in found) or ["application/json"]


# -- one operation -------------------------------------------------------------------------------------------------


def contract(doc: Part, info: Part, *, method: str, spec: Collected, **_: object) -> Part:
    """Complete the documentation of one operation (a flask-smorest doc callback)."""
    noted = info.get("contract", {})
    policy = noted["policy"]
    doc["operationId"] = noted["operation_id"]
    doc["security"] = _security(policy)
    _explain_access(info, policy)
    _success(doc, noted, public=policy.kind == "public")
    doc.setdefault("responses", {}).update(_problems(spec, doc, noted, method))
    doc.setdefault("parameters", []).extend(["X-Request-ID", *noted.get("headers", [])])
    return doc


def _security(policy: AccessPolicy) -> list[dict[str, list[str]]]:
    """The accepted security schemes; API keys with the required scope."""
    if policy.kind == "public":
        return []
    scopes = [policy.scope] if policy.scope else []
    keys = [] if policy.kind == "session" else [{"apiKey": scopes}, {"apiKeyAsBearer": scopes}]
    return [{"accessToken": []}, *keys]


_ACCESS = {
    "public": "*No credentials required.*",
    "session": "*Requires a session*; API keys are refused.",
    "signed_in": "*Requires any credential*, regardless of its scopes.",
    "scope": "*Requires a session or an API key with the scope* `{scope}`.",
    "admin": "*Requires an admin*: a session, or an API key with the scope `admin`.",
}


def _explain_access(info: Part, policy: AccessPolicy) -> None:
    access = _ACCESS[policy.kind].format(scope=policy.scope)
    docstring = info["docstring"]
    docstring["description"] = "\n\n".join(part for part in (docstring.get("description"), access) if part)


_TEXT: Part = {"schema": {"type": "string"}}
_JWK: Part = {
    "type": "object",
    "required": ["kty", "kid", "alg", "x"],
    "properties": {member: {"type": "string"} for member in ("kty", "crv", "kid", "alg", "use", "x")}
    | {"exp": {"type": "integer", "description": "It has signed nothing that ended later."}},
}
_JWK_SET: Part = {
    "type": "object",
    "required": ["keys"],
    "properties": {"keys": {"type": "array", "items": _JWK}},
}
_KEY: Part = {
    "crv": "Ed25519",
    "kty": "OKP",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    "use": "sig",
    "alg": "EdDSA",
}
_TEXT_SCHEMAS: dict[str, Part] = {
    "text/event-stream": {},  # see events.describe_streams
    "application/jwk-set+json": {"schema": _JWK_SET, "example": {"keys": [_KEY]}},
}


def _success(doc: Part, noted: Part, *, public: bool) -> None:
    """Add the headers of successful responses, and bodies that no schema of ours renders."""
    texts: dict[int, list[str]] = noted.get("texts", {})
    names = ["X-Request-ID", *([] if public else ["RateLimit-Policy", "RateLimit"])]
    names += ["Idempotent-Replayed"] if noted.get("replays") else []
    names += ["ETag"] if noted.get("tagged") else []
    for status, response in doc.get("responses", {}).items():
        response.setdefault("headers", {}).update({name: header_ref(name) for name in names})
        if media_types := texts.get(int(status)):
            found = {name: dict(_TEXT_SCHEMAS.get(name, _TEXT)) for name in media_types}
            response["content"] = {**response.get("content", {}), **found}
        elif "content" not in response and int(status) not in (204, 304):
            empty = {"type": "object", "required": ["data"], "properties": {"data": {"type": "object"}}}
            response["content"] = {"application/json": {"schema": empty}}


def _problems(spec: Collected, doc: Part, noted: Part, method: str) -> dict[str, str]:
    """The name of the shared response for each status."""
    policy: AccessPolicy = noted["policy"]
    public = policy.kind == "public"
    has_body = method in {"post", "patch", "put"} or "requestBody" in doc
    queried = {name for parameter in doc.get("parameters", []) for name in parameter["schema"].fields}
    kinds = [
        *_ANY,
        *([errors.InvalidCursor] if "cursor" in queried else []),
        *([errors.NotFound] if noted.get("in_path") else []),
        *(_OF_BODIES if has_body else []),
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
    errors.InvalidHeader,
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
