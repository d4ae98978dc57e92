"""What the served OpenAPI 3.1 document says about every operation, said once.

`contract` runs for each operation as flask-smorest documents it: it adds the security schemes of the view's
policy, the problems that any such operation can answer with, and the headers that every answer carries.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import marshmallow as ma

from common import errors
from common.errors import PlatformError
from web import problems

DESCRIPTION = """\
AI tools as billed, durable jobs: submit an invocation, follow it, get its result and its price.

**Answers** are JSON: one resource is `{"data": {…}}`, a list
`{"data": […], "meta": {"limit", "has_more", "next_cursor"}}` with a `Link: <…>; rel="next"` while there is more.
Times are RFC 3339 in UTC, ids UUIDs in lower case, amounts integers up to 2^53-1. Unknown body fields and unknown or
repeated query parameters are refused.

**Errors** are `application/problem+json` (RFC 9457). Branch on `code`; `type` leads to what it means.

**Credentials**: an access token or an API key as `Authorization: Bearer …`, or an API key as `X-API-Key`; never both.

**Limits**: `RateLimit-Policy` and `RateLimit` are on every authenticated answer, `Retry-After` on every 429 and 503.

**Request ids**: send `X-Request-ID` (1-128 of `A-Za-z0-9._-`) or take ours; it follows the work everywhere.
"""

PROBLEM = {"$ref": "#/components/schemas/Problem"}


class Enveloped(dict[str, Any]):
    """An answer that has its envelope already."""


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


def header_ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


# -- components ----------------------------------------------------------------------------------------------------

SECURITY_SCHEMES: dict[str, dict[str, Any]] = {
    "accessToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token of a login. An API key (`jh_…`) is taken in the same place.",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key (`jh_…`)."},
}

HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The id of this request: the client's own when it sent a valid one, else a new one.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9._-]+$"},
    },
    "RateLimit-Policy": {
        "description": "The caller's limits: quota `q` within a window of `w` seconds (IETF draft ratelimit-headers).",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "What is left of them: `r` more requests, full again in `t` seconds.",
        "schema": {"type": "string"},
    },
    "Link": {
        "description": 'The next page, `<…>; rel="next"`, when there is one (RFC 8288).',
        "schema": {"type": "string"},
    },
    "Location": {"description": "Where the resource is.", "schema": {"type": "string", "format": "uri"}},
    "Retry-After": {
        "description": "Seconds to wait before coming back.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "How to authenticate (RFC 6750).", "schema": {"type": "string"}},
    "Allow": {"description": "The methods that this resource knows.", "schema": {"type": "string"}},
    "ETag": {"description": "The version of this representation.", "schema": {"type": "string"}},
    "Preference-Applied": {"description": "The `Prefer: wait` that was honoured.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` when this is the answer to an earlier request with the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}

PARAMETERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "Your own id for this request; it follows the work everywhere. An invalid one is replaced.",
        "schema": {"type": "string"},
    },
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "1–255 printable ASCII characters. The same key within 24 hours gives the same answer.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x20-\\x7e]+$"},
    },
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=N`: wait up to N seconds (1–60) for the end (RFC 7240).",
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "description": "An ETag; the answer is 304 while it is still current.",
        "schema": {"type": "string"},
    },
    "Last-Event-ID": {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "Resume after this event.",
        "schema": {"type": "string"},
    },
}

_PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem details. Some codes carry members of their own.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "Resolves to the section of the docs on this code."},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string", "description": "A stable word."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "A JSON Pointer (RFC 6901) into the body, or into the query read as an object.",
                    },
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
_PAGE_META_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["limit", "has_more", "next_cursor"],
    "properties": {
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "has_more": {"type": "boolean"},
        "next_cursor": {"type": ["string", "null"]},
    },
}

_HEADERS_OF_STATUS = {
    401: ["WWW-Authenticate"],
    405: ["Allow"],
    429: ["Retry-After"],
    503: ["Retry-After"],
}


def define_components(spec: Any) -> None:
    """Put everything that operations refer to into the document."""
    for name, scheme in SECURITY_SCHEMES.items():
        spec.components.security_scheme(name, scheme)
    for name, header in HEADERS.items():
        spec.components.header(name, header)
    for name, parameter in PARAMETERS.items():
        where, rest = parameter["in"], {k: v for k, v in parameter.items() if k != "in"}
        spec.components.parameter(name, where, rest)
    spec.components.schema("Problem", _PROBLEM_SCHEMA)
    spec.components.schema("PageMeta", _PAGE_META_SCHEMA)
    for status, kinds in _COMMON.items():
        spec.components.response(f"Problem{status}", _problem_response(status, kinds))


def _problem_response(status: int, kinds: Iterable[type[PlatformError]]) -> dict[str, Any]:
    codes = sorted({kind.code for kind in kinds})
    headers = ["X-Request-ID", *_HEADERS_OF_STATUS.get(status, ())]
    return {
        "description": f"{problems.title_of(status)}: {', '.join(f'`{code}`' for code in codes)}",
        "headers": {name: header_ref(name) for name in headers},
        "content": {
            problems.MEDIA_TYPE: {"schema": {"allOf": [PROBLEM, {"properties": {"code": {"enum": codes}}}]}},
        },
    }


#: What any operation may answer with. The rest is named by `Blueprint.raises`.
_COMMON: dict[int, list[type[PlatformError]]] = {
    400: [
        errors.Malformed,
        errors.MalformedJson,
        errors.BodyRequired,
        errors.DuplicateKey,
        errors.TooDeep,
        errors.InvalidCursor,
        errors.InvalidHeader,
    ],
    401: [errors.Unauthenticated, errors.TokenExpired, errors.TokenRevoked],
    403: [errors.Forbidden, errors.ScopeMissing],
    404: [errors.NotFound],
    405: [problems.MethodNotAllowed],
    406: [problems.NotAcceptable],
    408: [problems.RequestTimeout],
    413: [errors.TooLarge],
    415: [problems.UnsupportedMediaType],
    422: [errors.Invalid],
    429: [errors.RateLimited],
    500: [problems.InternalError],
    503: [errors.DependencyUnavailable],
}
_FOR_BODIES = {408, 413, 415}
_FOR_CALLERS = {401, 403, 429}


# -- one operation -------------------------------------------------------------------------------------------------


def contract(doc: dict[str, Any], info: dict[str, Any], *, method: str, **_: Any) -> dict[str, Any]:
    """Complete one operation's documentation (a flask-smorest doc callback)."""
    noted = info.get("contract", {})
    policy = noted.get("policy")
    public = policy is None or policy.kind == "public"
    doc["operationId"] = noted["operation_id"]
    doc["security"] = [] if public else [{name: []} for name in SECURITY_SCHEMES]
    _success_headers(doc, public)
    _problems(doc, noted.get("raises", []), public, with_body="requestBody" in doc or method in {"post", "patch"})
    names = ["X-Request-ID", *noted.get("headers", [])]
    doc.setdefault("parameters", []).extend(names)
    return doc


def _success_headers(doc: dict[str, Any], public: bool) -> None:
    names = ["X-Request-ID"] if public else ["X-Request-ID", "RateLimit-Policy", "RateLimit"]
    for response in doc.get("responses", {}).values():
        if isinstance(response, dict):
            response.setdefault("headers", {}).update({name: header_ref(name) for name in names})


def _problems(doc: dict[str, Any], raised: Iterable[type[PlatformError]], public: bool, *, with_body: bool) -> None:
    special: dict[int, list[type[PlatformError]]] = {}
    for kind in raised:
        special.setdefault(problems.status_of(kind), []).append(kind)
    responses = doc.setdefault("responses", {})
    for status, kinds in _COMMON.items():
        applies = not (status in _FOR_CALLERS and public) and (with_body or status not in _FOR_BODIES)
        if applies and status not in special:
            responses[status] = f"Problem{status}"
        elif applies:
            special[status] = [*special[status], *kinds]
    for status, kinds in special.items():
        responses[status] = _problem_response(status, kinds)
