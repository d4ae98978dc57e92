"""Waiting for invocations, by long-polls."""

from __future__ import annotations

from collections.abc import Callable

from joyfull import models, wire
from joyfull.context import Context
from joyfull.errors import ConnectionFailed, WaitTimeout
from joyfull.exchange import Operation, Response, sleep
from joyfull.problems import ApiError
from joyfull.resource import request_of
from joyfull.retrying import call, is_outage

ENDS = ("succeeded", "failed", "canceled", "expired")
SLICE = 30


def read_invocation(context: Context, identifier: str, wait: int, until: float | None) -> Operation[models.Invocation]:
    """The invocation as it is, or when it ends within `wait` seconds. Goes on through outages until `until`."""
    request = request_of(
        context, "invocations_show", {"invocation_id": identifier}, query={"wait": wait or None}, wait=wait
    )
    end = until if until is not None else float("inf")
    response = yield from call(context, request, until=end, patient=True)
    return _invocation(response)


def _invocation(response: Response) -> models.Invocation:
    return models.Invocation.of(wire.decode(response.body)["data"])


def wait_for_end(
    context: Context,
    last: models.Invocation,
    timeout: float | None,
    on_change: Callable[[models.Invocation], None] | None = None,
) -> Operation[models.Invocation]:
    """Long-poll until the end; raises WaitTimeout. `timeout` is in seconds, None waits for ever."""
    until = None if timeout is None else context.now() + timeout
    while last.status not in ENDS:
        left = float("inf") if until is None else until - context.now()
        if left <= 0:
            raise WaitTimeout(context.job(last, False))
        began = context.now()
        try:
            found = yield from read_invocation(context, last.id, int(min(SLICE, max(1, left))), until)
        except (ConnectionFailed, ApiError) as error:
            if not is_outage(error):
                raise
            raise WaitTimeout(context.job(last, False)) from error
        if on_change is not None and (found.status, found.attempts) != (last.status, last.attempts):
            on_change(found)
        last = found
        early = context.now() - began < 1.0  # a server that does not hold long-polls open at the moment
        if last.status not in ENDS and early:
            yield from sleep(min((last.poll_after_ms or 1000) / 1000, max(left, 0.1)))
    return last
