"""How an invocation is represented in JSON: the same in answers, events, streams and webhooks."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from common.invocations.model import Invocation, RequestedTool, Waiting
from common.kit import jsonb
from common.kit.clock import now, rfc3339
from common.settings import links
from common.tools import Price
from common.tools.adapters.reading import MOST_UNITS

#: Events that show an invocation as it began: without its output.
BEGINNINGS = ("invocation.queued", "invocation.running")
POLL_MS = (250, 500, 1_000, 2_000, 5_000)


def represent(invocation: Invocation) -> dict[str, object]:
    """The resource of the contract, for `jsonb.encoded`; without input and output where they were not read."""
    shown: dict[str, object] = {
        "id": str(invocation.id),
        "status": invocation.status,
        "tool": {
            "id": str(invocation.tool_id),
            "slug": invocation.tool_slug,
            "name": invocation.tool_name,
            "version": invocation.tool_version,
        },
        "input": jsonb.passed_on(invocation.input),
        "output": jsonb.passed_on(invocation.output),
        "error": _error(invocation),
        "metadata": dict(invocation.metadata),
        "attempts": invocation.attempts,
        "last_error": None if invocation.last_error is None else dict(invocation.last_error),
        "waiting": _waiting(invocation.waiting),
        "billing": billed(invocation),
        "request_id": invocation.request_id,
        "api_key_id": _id(invocation.api_key_id),
        "end_user": invocation.end_user,
        "rerun_of": _id(invocation.rerun_of),
        "not_before": _time(invocation.not_before),
        "priority": invocation.priority,
        "stream": invocation.stream,
        "requested_tool": _requested(invocation.requested_tool),
        "created_at": rfc3339(invocation.created_at),
        "started_at": _time(invocation.started_at),
        "finished_at": _time(invocation.finished_at),
        "expires_at": rfc3339(invocation.expires_at),
        "cancel_requested_at": _time(invocation.cancel_requested_at),
        "poll_after_ms": poll_after_ms(invocation),
        "links": links.invocation(invocation.id),
    }
    if not invocation.payloads:
        del shown["input"], shown["output"]
    return shown


def _error(invocation: Invocation) -> dict[str, str] | None:
    if invocation.error_code is None:
        return None
    return {"code": invocation.error_code, "detail": invocation.error_detail or ""}


def _requested(tool: RequestedTool | None) -> dict[str, str] | None:
    return None if tool is None else {"id": str(tool.id), "slug": tool.slug}


def _waiting(waiting: Waiting | None) -> dict[str, str | None] | None:
    if waiting is None:
        return None
    return {"reason": waiting.reason, "until": _time(waiting.until), "detail": waiting.detail}


def billed(invocation: Invocation) -> dict[str, object]:
    """What it holds or was charged, and everything that the charge can be recomputed from."""
    if not invocation.ended:
        outcome, reason = "pending", None
    else:
        outcome = "charged" if invocation.is_charged else "free"
        reason = invocation.error_code or (None if invocation.status == "succeeded" else invocation.status)
    return {
        "held": invocation.held,
        "charged": invocation.charged or 0,
        "outcome": outcome,
        "reason": reason,
        "price": priced(invocation.price),
        "units": _number(invocation.units),
        "basis": basis(invocation),
    }


def basis(invocation: Invocation) -> str | None:
    """What was priced: what the tool `reported`, or what was `metered`; None if nothing was charged."""
    return invocation.basis or ("reported" if invocation.is_charged else None)


def priced(price: Price) -> dict[str, object]:
    """A price as it is shown."""
    per_unit = price.per_unit
    if per_unit is not None:
        named = {"pointer": per_unit["pointer"], "tokens": float(per_unit["tokens"]), "unit": per_unit["unit"]}
    return {
        "base_tokens": price.base_tokens,
        "per_unit": None if per_unit is None else named,
        "max_tokens": price.max_tokens,
        **({} if price.metered is None else {"metered": dict(price.metered)}),
    }


def _number(units: Decimal | None) -> int | float | None:
    """As the tool wrote it: an integer, or a number with a fraction."""
    if units is None:
        return None
    if units == units.to_integral_value() and units < 2**63:
        return int(units)
    return float(min(units, Decimal(MOST_UNITS)))  # an older release stored larger ones


def _id(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def poll_after_ms(invocation: Invocation) -> int | None:
    """When to ask again: soon while it is young, less often as it grows old; None once there is nothing to wait for."""
    if invocation.ended:
        return None
    age = max(0.0, (now() - invocation.created_at).total_seconds())
    return next((step for step in POLL_MS if age * 500 < step), POLL_MS[-1])


def etag(invocation: Invocation) -> str:
    """A strong validator (RFC 9110 §8.8.3): changes with everything that the representation shows.

    Made of what can change; of input and output (which may be large) that is only whether they are there: what was sent
    is never replaced, only dropped. `poll_after_ms` is left out on purpose: it is advice, and would make every poll of
    a waiting client a new version.
    """
    it = invocation
    shown = (it.id, it.status, it.tool_slug, it.tool_name, it.attempts, it.charged, it.error_code, it.error_detail)
    times = (it.started_at, it.finished_at, it.expires_at, it.cancel_requested_at)
    kept = (it.input is None, it.output is None)
    queued = (it.waiting, it.last_error, it.requested_tool)
    return hashlib.sha256(repr((*shown, *map(str, times), *kept, *queued)).encode()).hexdigest()[:32]


def at_event(invocation: Invocation, event_type: str, attempts: int) -> Invocation:
    """The invocation as it was when it was queued, or when it began to run; an end is final and stays as it is."""
    if event_type == "invocation.queued":
        return _open(invocation, "queued", attempts=0, started_at=None)
    if event_type == "invocation.running":
        return _open(invocation, "running", attempts=attempts, started_at=invocation.started_at)
    return invocation


def _open(invocation: Invocation, status: str, *, attempts: int, started_at: datetime | None) -> Invocation:
    """Without what came later, and without what only a reader of the present wants to know."""
    return replace(
        invocation,
        status=status,
        attempts=attempts,
        started_at=started_at,
        output=None,
        error_code=None,
        error_detail=None,
        charged=None,
        finished_at=None,
        cancel_requested_at=None,
        units=None,
        basis=None,
        waiting=None,
        last_error=None,
    )
