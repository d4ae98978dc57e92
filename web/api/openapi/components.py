"""Shared components of the OpenAPI document: security schemes, headers, parameters, page metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import validate

from web.http.fields import AnyField

#: A part of the document. OpenAPI nests objects of a hundred shapes; tests hold the whole to OpenAPI's own schema.
Part = dict[str, Any]  # Any: JSON, as deep as it goes
#: What flask-smorest collects the document in: an `apispec.APISpec`, a library that is not ours to import.
Collected = Any  # what apispec has collected is not typed

SECURITY_SCHEMES: dict[str, Part] = {
    "accessToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token of a session: valid for 15 minutes, with all permissions of its user.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key (`jh_…`), limited to its scopes.",
    },
    "apiKeyAsBearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "jh_…",
        "description": "The same key as `Authorization: Bearer jh_…`.",
    },
}

HEADERS: dict[str, Part] = {
    "X-Request-ID": {
        "description": "The id of this request: the one sent by the client if valid, otherwise a new one.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9._-]+$"},
        "example": "0190abcd00007000800000000000000a",
    },
    "RateLimit-Policy": {
        "description": "The caller's limits: quota `q` within a window of `w` seconds (IETF draft ratelimit-headers).",
        "schema": {"type": "string"},
        "example": '"reads";q=6000;w=60',
    },
    "RateLimit": {
        "description": "What is left of each limit: `r` requests, full again in `t` seconds.",
        "schema": {"type": "string"},
        "example": '"reads";r=5999;t=42',
    },
    "Link": {
        "description": 'The next page, `<…>; rel="next"`, if there is one (RFC 8288).',
        "schema": {"type": "string"},
        "example": '<https://hub.example/api/v1/usage?cursor=b3BhcXVl>; rel="next"',
    },
    "Location": {"description": "The URL of the resource.", "schema": {"type": "string", "format": "uri"}},
    "Retry-After": {
        "description": "Seconds to wait before retrying.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
    "WWW-Authenticate": {
        "description": "How to authenticate (RFC 6750).",
        "schema": {"type": "string"},
        "example": 'Bearer realm="joyfull-hub"',
    },
    "Allow": {
        "description": "The methods that this resource supports.",
        "schema": {"type": "string"},
        "example": "GET, HEAD, OPTIONS",
    },
    "ETag": {"description": "A strong validator for this representation.", "schema": {"type": "string"}},
    "Preference-Applied": {
        "description": "The `Prefer: wait` that was honoured.",
        "schema": {"type": "string"},
        "example": "wait=10",
    },
    "Idempotent-Replayed": {
        "description": "`true` if the request repeats an earlier one with the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Vary": {
        "description": "The request headers that selected this representation.",
        "schema": {"type": "string"},
        "example": "Accept",
    },
    "Content-Disposition": {
        "description": "The file name.",
        "schema": {"type": "string"},
        "example": 'attachment; filename="usage.csv"',
    },
    "X-Accel-Buffering": {"description": "Tells proxies not to buffer the stream.", "schema": {"type": "string"}},
}
#: Headers that are always present in responses that document them; the others are conditional.
ALWAYS = frozenset(HEADERS) - {"Link", "Retry-After", "Preference-Applied", "Idempotent-Replayed"}
#: Headers that CORS exposes to scripts in addition to the safelisted ones.
EXPOSED = tuple(HEADERS)

PARAMETERS: dict[str, Part] = {
    "X-Request-ID": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "Your id for this request, used in logs and passed on to the tool. An invalid id is replaced.",
        "schema": {"type": "string"},
    },
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "1–255 printable ASCII characters. A repeat within 24 hours returns the first result.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x20-\\x7e]+$"},
    },
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=N`: wait up to N seconds (1–60) for completion (RFC 7240).",
        "schema": {"type": "string"},
    },
    "Joyfull-Quote": {
        "name": "Joyfull-Quote",
        "in": "header",
        "description": "A signed quote, as the field `quote`.",
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "description": "An ETag; the response is 304 while it is current.",
        "schema": {"type": "string"},
    },
    "If-Match": {
        "name": "If-Match",
        "in": "header",
        "description": "ETags of the state to be changed, or `*`; 412 if it is in another. Weak tags never match.",
        "schema": {"type": "string"},
        "example": '"x8TkBuT3mCGkkW5XQ2Np"',
    },
    "Last-Event-ID": {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "Resume after this event.",
        "schema": {"type": "string"},
    },
}

_PAGE_META_SCHEMA: Part = {
    "type": "object",
    "required": ["limit", "has_more", "next_cursor"],
    "properties": {
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "has_more": {"type": "boolean"},
        "next_cursor": {"type": ["string", "null"]},
    },
}


def define(spec: Collected) -> None:
    """Add the components to the document."""
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


def names_of_members(_converter: object, field: AnyField, **_: object) -> Part:
    """How long the names of an object's members can be, which apispec does not say (an attribute function of its)."""
    rules = getattr(getattr(field, "key_field", None), "validators", ())
    length = next((rule for rule in rules if isinstance(rule, validate.Length)), None)
    return {} if length is None else {"propertyNames": {"minLength": length.min, "maxLength": length.max}}


def header_ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def one_of(names: Mapping[str, str], member: str) -> Part:
    """The schema of what is one of several by the value of `member`; `names` are their schemas by that value."""
    refs = {value: f"#/components/schemas/{name}" for value, name in names.items()}
    choices = [{"$ref": ref} for ref in dict.fromkeys(refs.values())]
    discriminator = {"propertyName": member, "mapping": refs}
    return choices[0] if len(choices) == 1 else {"oneOf": choices, "discriminator": discriminator}
