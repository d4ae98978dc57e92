"""Why a queued invocation has not started."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from common.invocations.model import Waiting
from common.tools import breakers

#: `scheduled` is for invocations that are not to start before a time of the caller's.
REASONS: Final = ("slot", "queue", "breaker", "retry", "scheduled")

_SLOT: Final = Waiting("slot", "Other invocations of the account use all the slots of its plan.")
_KEY: Final = Waiting("slot", "Other invocations with its API key use all the slots of the key.")
_QUEUE: Final = Waiting("queue", "It starts when a worker is free and its turn has come.")


#: What an invocation waits for before a worker can take it: a slot of its account, or its API key; "": nothing.
Lack = Literal["", "slot", "key"]


def lack(has_slot: bool, waits_for_key: bool) -> Lack:
    """What it has to wait for."""
    if has_slot:
        return ""
    return "key" if waits_for_key else "slot"


def of(
    tool_id: UUID,
    lacks: Lack,
    due_later: datetime | None,
    last_error: Mapping[str, str] | None,
    *,
    scheduled: bool,
) -> Waiting:
    """The first of the reasons that apply, the longest lasting first.

    Args:
        tool_id: the tool, whose circuit breaker may be open.
        lacks: what keeps it from having one of the account's slots.
        due_later: when it is due, if that is yet to come.
        last_error: code and detail of the attempt before.
        scheduled: whether it was not to start before a time.
    """
    if due_later is not None and last_error is not None:
        return Waiting("retry", f"The last attempt ended with {last_error['code']}.", due_later)
    if due_later is not None and scheduled:
        return Waiting("scheduled", "It does not start before its `not_before`.", due_later)
    breaker = breakers.state(tool_id)
    if breaker.state != "closed":
        return Waiting("breaker", "The tool has failed repeatedly; its circuit breaker is open.", breaker.retry_at)
    return {"": _QUEUE, "slot": _SLOT, "key": _KEY}[lacks]
