"""Submitting an invocation over HTTP: building the order, `Prefer: wait`, rate limit headers."""

from __future__ import annotations

import re

from flask import Response, current_app, g, request

from common import boot, errors, invocations, webhooks
from common.identity import accounts
from common.invocations import Invocation, Order, Submitted
from common.kit import db
from web.api.invocation_schemas import MAX_WAIT
from web.api.submit_schemas import SubmitIn
from web.http import auth, idempotency, limits, waiting
from web.http.responses import enveloped, location

_WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})"?\s*(?:$|[,;])', re.IGNORECASE)


def submit(tool: str, body: SubmitIn) -> Response:
    """Submit an invocation; respond 202, or 200 if it ended within `Prefer: wait` or had ended before."""
    require_verified()
    order = order_of(body, idempotency.key())
    submitted = submit_order(tool, order)
    seconds = _preferred_wait()
    invocation = submitted.invocation
    if invocation is None or seconds:
        invocation = _awaited(submitted, seconds or 0)
    headers = location("invocations.show", invocation_id=submitted.id)
    if submitted.replayed:
        headers["Idempotent-Replayed"] = "true"
    if seconds is not None and invocation.ended:
        headers["Preference-Applied"] = f"wait={seconds}"
    if not invocation.ended:
        headers["Retry-After"] = "1"
    return enveloped(invocations.represent(invocation), 200 if invocation.ended else 202, headers)


def _awaited(submitted: Submitted, seconds: int) -> Invocation:
    """The invocation after waiting for it.

    It was accepted, and an error would suggest that it was not: if PostgreSQL becomes unreachable, or a limit on reads
    is exceeded, the invocation is returned as it was stored.
    """
    try:
        fresh = submitted.invocation is not None
        return waiting.wait_for_completion(submitted.id, auth.caller().user_id, seconds, fresh=fresh)
    except (db.Unreachable, errors.RateLimited):
        if submitted.invocation is None:  # a repeated request: the client can repeat it again
            raise
        return submitted.invocation


def require_verified() -> None:
    if current_app.config["SETTINGS"].email_verification_required:
        accounts.require_verified(auth.caller())


def order_of(body: SubmitIn, key: str | None) -> Order:
    webhook_url = body.get("webhook_url")
    if webhook_url is not None:
        webhooks.check_url(boot.outbound(), webhook_url, "/webhook_url")
    chosen = body.get("webhook_events")
    return Order(
        input=body["input"],
        body={name: value for name, value in body.items() if name not in ("tool", "idempotency_key")},
        request_id=g.request_id,
        max_tokens=body.get("max_tokens"),
        expires_in=body["expires_in"],
        metadata=body["metadata"],
        webhook_url=webhook_url,
        webhook_events=tuple(chosen) if chosen else None,
        idempotency_key=key,
    )


def _preferred_wait() -> int | None:
    """Seconds of `Prefer: wait=N` (RFC 7240), clamped to 1–60; None if absent or invalid."""
    match = _WAIT.search(", ".join(request.headers.getlist("Prefer")))
    return None if match is None else max(1, min(MAX_WAIT, int(match[1])))


def submit_order(tool: str, order: Order) -> Submitted:
    """Submit, and report the state of the plan's rate limit, including when the rate limit refuses."""
    try:
        submitted = invocations.submit(auth.caller(), tool, order)
    except errors.RateLimited as refusal:
        if refusal.submits is not None:
            _show_rate(refusal.submits, 0, refusal.retry_after)
        raise
    if (rate := submitted.rate) is not None:
        _show_rate(rate.limit, rate.remaining, rate.reset)
    return submitted


def _show_rate(limit: int, remaining: int, reset: int) -> None:
    limits.show(limits.RateLimit("submits", limit, 60, remaining, reset))
