"""What the operations of the OpenAPI document share: security schemes, headers, parameters, problems."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from common.errors import PlatformError, Temporary
from web.http import problems

SECURITY_SCHEMES: dict[str, dict[str, Any]] = {
    "accessToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token of a login: 15 minutes, every right of its user.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key (`jh_…`), with the scopes that it was given.",
    },
    "apiKeyAsBearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "jh_…",
        "description": "The same key as `Authorization: Bearer jh_…`.",
    },
}

HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The id of this request: the client's own when it sent a valid one, else a new one.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9._-]+$"},
        "example": "0190abcd00007000800000000000000a",
    },
    "RateLimit-Policy": {
        "description": "The caller's limits: quota `q` within a window of `w` seconds (IETF draft ratelimit-headers).",
        "schema": {"type": "string"},
        "example": '"reads";q=6000;w=60',
    },
    "RateLimit": {
        "description": "What is left of them: `r` more requests, full again in `t` seconds.",
        "schema": {"type": "string"},
        "example": '"reads";r=5999;t=42',
    },
    "Link": {
        "description": 'The next page, `<…>; rel="next"`, when there is one (RFC 8288).',
        "schema": {"type": "string"},
        "example": '<https://hub.example/api/v1/usage?cursor=b3BhcXVl>; rel="next"',
    },
    "Location": {"description": "Where the resource is.", "schema": {"type": "string", "format": "uri"}},
    "Retry-After": {
        "description": "Seconds to wait before coming back.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
    "WWW-Authenticate": {
        "description": "How to authenticate (RFC 6750).",
        "schema": {"type": "string"},
        "example": 'Bearer realm="joyfull-hub"',
    },
    "Allow": {
        "description": "The methods that this resource knows.",
        "schema": {"type": "string"},
        "example": "GET, HEAD, OPTIONS",
    },
    "ETag": {"description": "The version of this representation (strong).", "schema": {"type": "string"}},
    "Preference-Applied": {
        "description": "The `Prefer: wait` that was honoured.",
        "schema": {"type": "string"},
        "example": "wait=10",
    },
    "Idempotent-Replayed": {
        "description": "`true` when this is the answer to an earlier request with the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Vary": {
        "description": "The request headers that chose this representation.",
        "schema": {"type": "string"},
        "example": "Accept",
    },
    "Content-Disposition": {
        "description": "The name of the file.",
        "schema": {"type": "string"},
        "example": 'attachment; filename="usage.csv"',
    },
    "X-Accel-Buffering": {"description": "Tells proxies not to hold the stream back.", "schema": {"type": "string"}},
}
#: Headers that an answer which documents them always has; of the others "when there is one" is true.
ALWAYS = frozenset(HEADERS) - {"Link", "Retry-After", "Preference-Applied", "Idempotent-Replayed"}
#: What a browser's script may read beside the headers that it always may.
EXPOSED = tuple(HEADERS)

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

PROBLEM = "#/components/schemas/Problem"
_PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem details. Some codes carry members of their own.",
    "additionalProperties": True,
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "Resolves to the section of the docs on this code."},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "instance": {
            "type": "string",
            "description": "The path that was asked for; a `urn:uuid:` of the request when it could not be read.",
        },
        "code": {"type": "string", "description": "A stable word."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "What is wrong in the request, at most 100 faults.",
            "items": {
                "type": "object",
                "title": "ProblemFault",
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
#: Members that only the problems of some codes have, with their types.
_MEMBERS: dict[str, dict[str, Any]] = {
    "budget_exhausted": {
        "required": {"type": "integer", "description": "Tokens that this would have held."},
        "available": {"type": "integer", "description": "Tokens that the period has left."},
        "shortfall": {"type": "integer"},
        "resets_at": {"type": "string", "format": "date-time"},
        "plans": {"type": "array", "items": {"type": "string"}, "description": "Slugs of plans that would allow it."},
    },
    "scope_missing": {"scope": {"type": "string", "description": "The scope that the key lacks."}},
    "dependency_unavailable": {
        "not_ready": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Only of `/ready`: what is not, and why.",
        }
    },
}
_MEMBER_EXAMPLES: dict[str, dict[str, Any]] = {
    "budget_exhausted": {
        "required": 500,
        "available": 120,
        "shortfall": 380,
        "resets_at": "2027-02-01T00:00:00Z",
        "plans": ["pro"],
    },
    "scope_missing": {"scope": "invocations:write"},
    "validation_failed": {"errors": [{"pointer": "/max_tokens", "detail": "Not a valid integer."}]},
    "tool_input_rejected": {"errors": [{"pointer": "/input/text", "detail": '4 is not of type "string"'}]},
    "url_refused": {"errors": [{"pointer": "/url", "detail": "127.0.0.1 is not a public address."}]},
}
_HEADERS_OF_STATUS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}
#: Refused before anybody looks at credentials, so without the caller's limits.
_BEFORE_CREDENTIALS = {401, 406, 414, 431}


def define(spec: Any) -> None:
    """Put everything that operations refer to into the document."""
    for name, scheme in SECURITY_SCHEMES.items():
        spec.components.security_scheme(name, scheme)
    for name, header in HEADERS.items():
        spec.components.header(name, {"required": True, **header} if name in ALWAYS else header)
    spec.components.header("Retry-After-Always", {"required": True, **HEADERS["Retry-After"]})
    spec.components.header("RateLimit-Known", HEADERS["RateLimit"])
    spec.components.header("RateLimit-Policy-Known", HEADERS["RateLimit-Policy"])
    for name, parameter in PARAMETERS.items():
        where, rest = parameter["in"], {k: v for k, v in parameter.items() if k != "in"}
        spec.components.parameter(name, where, rest)
    spec.components.schema("Problem", _PROBLEM_SCHEMA)
    spec.components.schema("PageMeta", _PAGE_META_SCHEMA)


def header_ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def problem_ref(spec: Any, status: int, kinds: Iterable[type[PlatformError]], *, public: bool) -> str:
    """The name of the shared response for these codes; made when first needed."""
    leaves = sorted(set(kinds), key=lambda kind: kind.code)
    codes = "".join(word.capitalize() for kind in leaves for word in kind.code.split("_"))
    name = f"Problem{status}{codes}{'Public' if public else ''}"
    if name not in spec.components.responses:
        spec.components.response(name, _problem_response(status, leaves, public))
    return name


def _problem_response(status: int, kinds: list[type[PlatformError]], public: bool) -> dict[str, Any]:
    codes = [kind.code for kind in kinds]
    members = {name: schema for code in codes for name, schema in _MEMBERS.get(code, {}).items()}
    schema = {"$ref": PROBLEM, "properties": {"code": {"enum": codes}, **members}}
    return {
        "description": f"{problems.title_of(status)}: {', '.join(f'`{code}`' for code in codes)}",
        "headers": _problem_headers(status, public),
        "content": {
            problems.MEDIA_TYPE: {
                "schema": schema,
                "examples": {kind.code: {"value": _example(kind, status)} for kind in kinds},
            },
        },
    }


def _problem_headers(status: int, public: bool) -> dict[str, Any]:
    headers = {"X-Request-ID": header_ref("X-Request-ID")}
    if status in _HEADERS_OF_STATUS:
        name = _HEADERS_OF_STATUS[status]
        headers[name] = header_ref("Retry-After-Always" if name == "Retry-After" else name)
    if not public and status not in _BEFORE_CREDENTIALS:
        headers |= {name: header_ref(f"{name}-Known") for name in ("RateLimit-Policy", "RateLimit")}
    return headers


def _example(kind: type[PlatformError], status: int) -> dict[str, Any]:
    error = kind(retry_after=7) if issubclass(kind, Temporary) else kind()
    return {
        "type": f"https://hub.example/docs/errors#{kind.code}",
        "title": error.title,
        "status": status,
        "detail": error.detail,
        "instance": "/api/v1/…",
        "code": kind.code,
        "request_id": "0190abcd00007000800000000000000a",
        **_MEMBER_EXAMPLES.get(kind.code, {}),
    }
