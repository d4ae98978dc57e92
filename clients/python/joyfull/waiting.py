"""Waiting for invocations: by long-polls, or along a stream of events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from joyfull import models, wire
from joyfull.context import Context
from joyfull.errors import ConnectionFailed, Timeout, WaitTimeout
from joyfull.exchange import Operation, Response, close, emit, read, sleep
from joyfull.problems import Unavailable
from joyfull.resource import request_of
from joyfull.retrying import call, logger
from joyfull.sse import Parser, ServerEvent

ENDS = ("succeeded", "failed", "canceled", "expired")
SLICE = 30
#: Seconds without event or comment after which a stream is taken for dead: the API sends a comment every ten.
SILENCE = 25.0


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
        except (ConnectionFailed, Unavailable) as error:
            raise WaitTimeout(context.job(last, False)) from error
        if on_change is not None and (found.status, found.attempts) != (last.status, last.attempts):
            on_change(found)
        last = found
        early = context.now() - began < 1.0  # a server that does not hold long-polls open at the moment
        if last.status not in ENDS and early:
            yield from sleep(min((last.poll_after_ms or 1000) / 1000, max(left, 0.1)))
    return last


@dataclass
class _Followed:
    """What a follower has seen."""

    identifier: str
    seen: str | None
    last: models.Invocation | None = None

    @property
    def ended(self) -> bool:
        return self.last is not None and self.last.status in ENDS

    def is_new(self, event: ServerEvent) -> bool:
        """Whether this event was not seen before: ids only grow, and a reconnected stream may repeat."""
        if not event.id or self.seen is None or not (event.id.isdigit() and self.seen.isdigit()):
            return event.id != self.seen or not event.id
        return int(event.id) > int(self.seen)


def follow_events(context: Context, identifier: str, last_event_id: str | None) -> Operation[models.Invocation]:
    """Emits each state once, until the end. Reconnects; long-polls when the stream falls silent."""
    following = _Followed(identifier, last_event_id)
    while True:
        try:
            yield from _one_stream(context, following)
        except Timeout:
            yield from _poll(context, following, SLICE)
        except ConnectionFailed as error:
            logger.info("the stream of %s was cut: %s", identifier, error)
        if following.ended and following.last is not None:
            return following.last
        yield from sleep(0.5)


def _poll(context: Context, following: _Followed, wait: int) -> Operation[None]:
    found = yield from read_invocation(context, following.identifier, wait, None)
    if following.last is None or (found.status, found.attempts) != (following.last.status, following.last.attempts):
        yield from emit(found)
    following.last = found


def _one_stream(context: Context, following: _Followed) -> Operation[None]:
    """Emits what one connection brings."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": following.seen} if following.seen else {})
    request = request_of(context, "invocations_events", {"invocation_id": following.identifier}, headers=headers)
    response = yield from call(context, replace(request, stream=True, timeout=SILENCE))
    if response.stream is None:  # 204: nothing more will come
        return (yield from _poll(context, following, 0))
    parser = Parser()
    while not following.ended:
        part = yield from read(response)
        for event in filter(following.is_new, parser.feed(part)):
            following.seen, following.last = event.id, models.Invocation.of(wire.decode(event.data.encode()))
            yield from emit(following.last)
        if not part:
            break
    yield from close(response)
