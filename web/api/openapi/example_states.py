"""What an example of an invocation shows in each state, so that an example fits the answer or event that it is in."""

from __future__ import annotations

from collections.abc import Mapping

from web.api.openapi.components import Part

_ANSWER = {"$ref": "#/components/schemas/InvocationAnswer"}
_EXPLAINED = {"code": "tool_timeout", "detail": "The tool did not respond within 30 seconds."}
_LATER = "2027-01-31T12:00:02.000000Z"
_OPEN: Part = {"output": None, "finished_at": None, "poll_after_ms": 250}
_UNSETTLED: Part = {"charged": 0, "outcome": "pending", "units": None, "basis": None}
_FREE: Part = {**_UNSETTLED, "outcome": "free"}
#: By state: members that differ from those of a success, and members of `billing` that do.
_STATES: Mapping[str, tuple[Part, Part]] = {
    "queued": ({**_OPEN, "attempts": 0, "started_at": None}, _UNSETTLED),
    "running": (_OPEN, _UNSETTLED),
    "succeeded": ({}, {}),
    "failed": ({"output": None, "error": _EXPLAINED}, {**_FREE, "reason": "tool_timeout"}),
    "canceled": (
        {"output": None, "attempts": 0, "started_at": None, "cancel_requested_at": _LATER},
        {**_FREE, "reason": "canceled"},
    ),
    "expired": ({"output": None, "attempts": 0, "started_at": None}, {**_FREE, "reason": "expired"}),
}
#: Where the status of the response alone does not say it: cancellation of what runs, and of what does not.
_OF_ANSWERS: Mapping[tuple[str, str], tuple[str, Part]] = {
    ("invocations_cancel", "200"): ("canceled", {}),
    ("invocations_cancel", "202"): ("running", {"cancel_requested_at": _LATER}),
}


def fitted(example: object, operation: Part, status: str, schema: Part) -> object:
    """The example of a body as it is at that status of the operation, or in that event."""
    kind = str(schema.get("properties", {}).get("type", {}).get("const", ""))
    if not isinstance(example, dict) or not (schema == _ANSWER or kind.startswith("invocation.")):
        return example
    state = kind.removeprefix("invocation.") or ("queued" if status == "202" else "succeeded")
    state, more = _OF_ANSWERS.get((operation["operationId"], status), (state, {}))
    return {**example, "data": _in(state, more, example["data"])}


def _in(state: str, more: Part, succeeded: Part) -> Part:
    members, billing = _STATES[state]
    return {**succeeded, **members, **more, "status": state, "billing": {**succeeded["billing"], **billing}}
