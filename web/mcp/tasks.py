"""The extension for long calls (SEP-2663): a task is an invocation, under the same id.

Its row was committed before the client learns of it, so a task that was announced can be asked for, whatever dies.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final
from uuid import UUID

from flask import current_app

from common import errors, invocations
from common.invocations import Invocation
from common.kit.clock import rfc3339
from web.http import auth, waiting
from web.mcp import protocol, results
from web.mcp.rpc import Json, Message, RpcError, invalid

#: `failed` is for errors of the protocol: a tool that fails has completed with a result that says so.
_STATUSES: Final = {
    "queued": "working",
    "running": "working",
    "succeeded": "completed",
    "failed": "completed",
    "expired": "completed",
    "canceled": "cancelled",
}
_DAY_MS: Final = 86_400_000


def created(invocation: Invocation) -> Json:
    """The result of a call that goes on as a task."""
    return {"resultType": "task", **shown(invocation)}


def shown(invocation: Invocation) -> Json:
    """The task, without its result."""
    days: int = current_app.config["SETTINGS"].payload_retention_days
    moments = (invocation.finished_at, invocation.cancel_requested_at, invocation.started_at)
    poll = invocations.poll_after_ms(invocation)
    return {
        "taskId": str(invocation.id),
        "status": _STATUSES[invocation.status],
        **({} if invocation.status == "succeeded" else {"statusMessage": _told(invocation)}),
        "createdAt": rfc3339(invocation.created_at),
        "lastUpdatedAt": rfc3339(max(filter(None, moments), default=invocation.created_at)),
        "ttlMs": days * _DAY_MS or None,
        **({} if poll is None else {"pollIntervalMs": poll}),
    }


def _told(invocation: Invocation) -> str:
    waits = f": {invocation.waiting.detail}" if invocation.waiting else ""
    return f"{invocation.status}{waits}"


def get(message: Message) -> Json:
    """`tasks/get`: with its result, once there is one."""
    invocation = waiting.wait_for_completion(_task_id(message), auth.caller().user_id, 0)
    if _STATUSES[invocation.status] != "completed":
        return shown(invocation)
    return {**shown(invocation), "result": results.of(message, invocation)}


def update(message: Message) -> Json:
    """`tasks/update`: no task here asks for input, so there is nothing that the responses could be for."""
    invocations.get_within(_task_id(message), auth.caller().user_id, 0)
    return {}


def cancel(message: Message) -> Json:
    """`tasks/cancel`: acknowledged whether or not there is still something to cancel."""
    with suppress(errors.AlreadyFinished):
        invocations.cancel(auth.caller(), _task_id(message))
    return {}


def _task_id(message: Message) -> UUID:
    """Raises `RpcError`: the client has not declared the extension, or names no task."""
    if not message.has_tasks:
        needed: Json = {"requiredCapabilities": {"extensions": {protocol.TASKS: {}}}}
        raise RpcError(protocol.MISSING_CAPABILITY, f"Declare the extension {protocol.TASKS}.", needed)
    try:
        return UUID(str(message.params.get("taskId")))
    except ValueError:
        raise invalid("There is no such task.") from None
