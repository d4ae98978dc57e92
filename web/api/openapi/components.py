"""What the operations of the OpenAPI document share: security schemes, headers, parameters, page metadata."""

from __future__ import annotations

from typing import Any

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

_PAGE_META_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["limit", "has_more", "next_cursor"],
    "properties": {
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "has_more": {"type": "boolean"},
        "next_cursor": {"type": ["string", "null"]},
    },
}


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
    spec.components.schema("PageMeta", _PAGE_META_SCHEMA)


def header_ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}
