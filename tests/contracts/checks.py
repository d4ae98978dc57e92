"""Checks and readings of ours beside those of Schemathesis, which loads this module by `SCHEMATHESIS_HOOKS`."""

from __future__ import annotations

from typing import Any

import schemathesis

#: On every answer by the description of the document, or by HTTP itself.
EVERYWHERE = frozenset(
    [
        "cache-control",
        "connection",
        "content-length",
        "content-security-policy",
        "content-type",
        "date",
        "referrer-policy",
        "server",
        "transfer-encoding",
        "x-content-type-options",
    ]
)


@schemathesis.hook
def before_load_schema(_context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Schemathesis takes the schema of a stream for that of an event with its name and id; ours is that of `data`."""
    for item in raw_schema["paths"].values():
        content = item.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        if "text/event-stream" in content:
            of_data = content["text/event-stream"]["schema"]
            data = {"type": "string", "contentMediaType": "application/json", "contentSchema": of_data}
            content["text/event-stream"] = {
                "schema": {"type": "object", "required": ["id", "event", "data"], "properties": {"data": data}}
            }


@schemathesis.check
def every_header_is_documented(
    _context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> bool | None:
    """An answer has no header that its status does not document."""
    documented = case.operation.responses.find_by_status_code(response.status_code)
    if documented is None:
        return None  # another check says so
    known = {name.lower() for name, _ in documented.headers.items()} | EVERYWHERE
    surplus = sorted(name for name in response.headers if name.lower() not in known)
    assert not surplus, f"{case.method} {case.path} {response.status_code} has undocumented headers: {surplus}"
    return None
