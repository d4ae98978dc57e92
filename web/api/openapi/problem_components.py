"""Errors in the OpenAPI document: the problem schema, and one shared response per status and set of codes."""

from __future__ import annotations

from collections.abc import Iterable

from common.errors import PlatformError, Temporary
from web.api.openapi.components import Collected, Part, header_ref, one_of
from web.http import problems

PROBLEM = "#/components/schemas/Problem"
_PROBLEM_SCHEMA: Part = {
    "type": "object",
    "description": "RFC 9457 problem details. Some codes have additional members.",
    "additionalProperties": True,
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "The URL of the documentation of this code."},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "instance": {
            "type": "string",
            "description": "The request path; a `urn:uuid:` if the request could not be parsed.",
        },
        "code": {"type": "string", "description": "A stable identifier of the error."},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "The invalid parts of the request, at most 100.",
            "items": {
                "type": "object",
                "title": "ProblemFault",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "A JSON Pointer (RFC 6901) into the body, or into the query as an object.",
                    },
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
#: Additional members of the problems of some codes.
_MEMBERS: dict[str, Part] = {
    "budget_exhausted": {
        "required": {"type": "integer", "description": "Tokens that would have been held."},
        "available": {"type": "integer", "description": "Tokens available of that budget or allowance."},
        "shortfall": {"type": "integer"},
        "budget": {
            "type": "string",
            "enum": ["account", "api_key"],
            "description": "What does not cover it: the account's budget, or the allowance of an API key.",
        },
        "api_key_id": {"type": "string", "format": "uuid", "description": "The key, if it is one's allowance."},
        "resets_at": {
            "type": "string",
            "format": "date-time",
            "description": "Absent if the allowance of a key never resets.",
        },
        "plans": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Slugs of plans with a sufficient budget.",
        },
        "affordable_max_tokens": {
            "type": ["integer", "null"],
            "description": "The largest `max_tokens` that would be accepted now. Null if that is less than the tool's "
            "base price.",
        },
        "actions": {
            "type": "array",
            "description": "What would get it accepted: a lower `max_tokens`, waiting, or a person who chooses a "
            "larger plan at `href`.",
            "items": {
                "type": "object",
                "title": "ProblemAction",
                "required": ["rel"],
                "properties": {
                    "rel": {"type": "string", "enum": ["retry_with", "wait_until", "upgrade"]},
                    "max_tokens": {"type": "integer", "description": "Of `retry_with`."},
                    "at": {"type": "string", "format": "date-time", "description": "Of `wait_until`."},
                    "plan": {"type": "string", "description": "Of `upgrade`: its slug."},
                    "href": {"type": "string", "description": "Of `upgrade`: a page for a person."},
                },
            },
        },
    },
    "scope_missing": {"scope": {"type": "string", "description": "The missing scope."}},
    "dependency_unavailable": {
        "not_ready": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Only for `/ready`: what is not ready, and why.",
        }
    },
}
_MEMBER_EXAMPLES: dict[str, Part] = {
    "budget_exhausted": {
        "required": 500,
        "available": 120,
        "shortfall": 380,
        "budget": "account",
        "resets_at": "2027-02-01T00:00:00Z",
        "plans": ["pro"],
        "affordable_max_tokens": 120,
        "actions": [
            {"rel": "retry_with", "max_tokens": 120},
            {"rel": "wait_until", "at": "2027-02-01T00:00:00Z"},
            {"rel": "upgrade", "plan": "pro", "href": "/console/plan/change?plan=pro"},
        ],
    },
    "scope_missing": {"scope": "invocations:write"},
    "validation_failed": {"errors": [{"pointer": "/max_tokens", "detail": "Not a valid integer."}]},
    "tool_input_rejected": {"errors": [{"pointer": "/input/text", "detail": '4 is not of type "string"'}]},
    "url_refused": {"errors": [{"pointer": "/url", "detail": "127.0.0.1 is not a public address."}]},
}
_HEADERS_OF_STATUS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}
#: Sent before credentials are checked, so without the caller's limits.
_BEFORE_CREDENTIALS = {401, 406, 414, 431}


def define(spec: Collected) -> None:
    """Add the problem schema to the document."""
    spec.components.schema("Problem", _PROBLEM_SCHEMA)


def response_name(spec: Collected, status: int, kinds: Iterable[type[PlatformError]], *, public: bool) -> str:
    """The name of the shared response for these codes, which is created when first needed."""
    leaves = sorted(set(kinds), key=lambda kind: kind.code)
    codes = "".join(_spelled(kind.code) for kind in leaves)
    name = f"Problem{status}{codes}{'Public' if public else ''}"
    if name not in spec.components.responses:
        spec.components.response(name, _problem_response(spec, status, leaves, public))
    return name


def _spelled(code: str) -> str:
    return "".join(word.capitalize() for word in code.split("_"))


def _problem_response(spec: Collected, status: int, kinds: list[type[PlatformError]], public: bool) -> Part:
    refs = {kind.code: _schema_of(spec, kind) for kind in kinds}
    return {
        "description": f"{problems.title_of(status)}: {', '.join(f'`{code}`' for code in refs)}",
        "headers": _problem_headers(status, public),
        "content": {
            problems.MEDIA_TYPE: {
                "schema": one_of(refs, "code"),
                "examples": {kind.code: {"value": _example(kind, status)} for kind in kinds},
            },
        },
    }


def _schema_of(spec: Collected, kind: type[PlatformError]) -> str:
    """The name of the schema of one code, with the members that only it has; created when first needed."""
    name = f"{_spelled(kind.code)}Problem"
    if name not in spec.components.schemas:
        own = {"code": {"type": "string", "enum": [kind.code]}, **_MEMBERS.get(kind.code, {})}
        schema = {"type": "object", "required": ["code"], "properties": own}
        spec.components.schema(name, {"description": kind().detail, "allOf": [{"$ref": PROBLEM}, schema]})
    return name


def _problem_headers(status: int, public: bool) -> Part:
    headers = {"X-Request-ID": header_ref("X-Request-ID")}
    if status in _HEADERS_OF_STATUS:
        name = _HEADERS_OF_STATUS[status]
        headers[name] = header_ref("Retry-After-Always" if name == "Retry-After" else name)
    if not public and status not in _BEFORE_CREDENTIALS:
        headers |= {name: header_ref(f"{name}-Known") for name in ("RateLimit-Policy", "RateLimit")}
    return headers


def _example(kind: type[PlatformError], status: int) -> Part:
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
