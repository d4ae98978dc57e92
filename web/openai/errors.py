"""Errors as OpenAI's clients know them: `{"error": {"message", "type", "param", "code", …}}`.

`code` is that of the platform. What a client must not repeat by itself says so with `x-should-retry: false`: the
platform has repeated it already, or only another request can help.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Response, request

from common.errors import FieldError, NotFound, PlatformError, ToolInputRejected
from common.invocations import Invocation, receipts
from common.kit import jsonb
from common.settings import links
from web.http import problems

#: The types of errors by their status; of others see `_type`.
_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}
#: Statuses that the clients would repeat, or that have to be decided by somebody.
_FINAL: Final = frozenset((402, 409))
NO_RETRY: Final[Mapping[str, str]] = {"x-should-retry": "false"}
#: The statuses of ends that are no answers; 502 of all others.
_ENDS: Final[Mapping[str, int]] = {"tool_error": 400, "tool_timeout": 504, "expired": 504, "canceled": 409}
#: Members of a problem that stand elsewhere in OpenAI's shape.
_ELSEWHERE: Final = frozenset(("type", "title", "status", "detail", "instance", "code", "errors"))
_SAID: Final[Mapping[str, str]] = {
    "canceled": "The invocation was canceled.",
    "expired": "The invocation expired before it was started.",
}


def answer(error: PlatformError) -> Response:
    """The response to an error in the current request."""
    status = _status(error)
    faults = [FieldError(_param(error, fault), fault.detail) for fault in error.errors]
    more = {name: value for name, value in problems.as_dict(error).items() if name not in _ELSEWHERE}
    if faults:
        more["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in faults]
    said = shaped(status, _code(error), error.detail, param=faults[0].pointer if faults else None, more=more)
    headers = {**problems.headers_of(error), **(NO_RETRY if status in _FINAL else {})}
    return Response(jsonb.encoded(said), status, headers, content_type="application/json")


def shaped(
    status: int, code: str, message: str, *, param: str | None = None, more: Mapping[str, object] | None = None
) -> dict[str, object]:
    """An error as it is sent, also in a stream."""
    return {"error": {"message": message, "type": _type(status), "param": param, "code": code, **(more or {})}}


def _type(status: int) -> str:
    return _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")


def _status(error: PlatformError) -> int:
    return 400 if isinstance(error, ToolInputRejected) else problems.status_of(type(error))


def _code(error: PlatformError) -> str:
    """Nothing but models can be missing in a request to one of the operations."""
    is_model = isinstance(error, NotFound) and request.endpoint is not None
    return "model_not_found" if is_model else error.code


def _param(error: PlatformError, fault: FieldError) -> str:
    """Where in the body it is: the input of the tool is the body itself here."""
    return fault.pointer.removeprefix("/input") if isinstance(error, ToolInputRejected) else fault.pointer


# -- ends that are no answers ----------------------------------------------------------------------------------------


def headers_of(invocation: Invocation) -> dict[str, str]:
    """What is said of the invocation beside its answer; `Joyfull-Charged` only of one that has ended."""
    headers = {"Joyfull-Invocation": str(invocation.id), "Joyfull-Held": str(invocation.held)}
    return {**headers, "Joyfull-Charged": str(invocation.charged or 0)} if invocation.ended else headers


def of_end(invocation: Invocation) -> Response:
    """The response to a call that failed, or that was ended otherwise."""
    status, said = end(invocation)
    return _final(invocation, status, said)


def end(invocation: Invocation) -> tuple[int, dict[str, object]]:
    """The status and the error of an invocation that has ended without an answer."""
    code = invocation.error_code or invocation.status
    status = _ENDS.get(code, 502)
    message = invocation.error_detail or _SAID.get(code, "The call failed.")
    return status, shaped(status, code, message, more={"joyfull": receipts.bill(invocation)})


def still_running(invocation: Invocation) -> Response:
    """The response to a client that would give up soon: the invocation goes on."""
    return _final(invocation, 504, unfinished(invocation))


def unfinished(invocation: Invocation) -> dict[str, object]:
    """The error of a wait that was too short."""
    where = links.invocation(invocation.id)["self"]
    message = f"The invocation has not ended yet, and goes on. Its answer will be at {where}."
    about = {"invocation": str(invocation.id), "held": invocation.held, "status": invocation.status}
    return shaped(504, "still_running", message, more={"joyfull": about})


def _final(invocation: Invocation, status: int, said: Mapping[str, object]) -> Response:
    headers = {**headers_of(invocation), **NO_RETRY}
    return Response(jsonb.encoded(said), status, headers, content_type="application/json")
