"""Following an invocation along its server-sent events: its states, and the parts of an answer that is streamed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from joyfull import models, wire
from joyfull.answers import Answer, Part
from joyfull.context import Context
from joyfull.errors import ConnectionFailed, Timeout, WaitTimeout, ended
from joyfull.exchange import Operation, Request, close, emit, read, sleep
from joyfull.problems import ApiError
from joyfull.resource import request_of
from joyfull.retrying import call, is_outage, logger
from joyfull.sse import Parser, ServerEvent
from joyfull.waiting import ENDS, SLICE, read_invocation

if TYPE_CHECKING:
    from joyfull.job import AnyJob

#: Seconds without event or comment after which a stream is taken for dead: the API sends a comment every ten.
SILENCE = 25.0
PAUSE = 0.5


@dataclass
class Followed:
    """What a follower has seen of an invocation. `until`: a reading of `context.now`."""

    identifier: str
    #: Whether it is shown the answer, or the states.
    with_output: bool = False
    seen: str | None = None
    last: models.Invocation | None = None
    until: float = float("inf")
    answer: Answer = field(default_factory=Answer)
    _place: tuple[int, int] = (0, 0)

    @property
    def ended(self) -> bool:
        return self.last is not None and self.last.status in ENDS

    def take(self, event: ServerEvent) -> models.Invocation | Part | None:
        """What an event brings; nothing if it was seen before, or is of a kind that this version does not know."""
        if event.type == "snapshot" or event.type.startswith("invocation."):
            return self._state(event)
        return self._part(event) if event.type.startswith("output.") else None

    def _state(self, event: ServerEvent) -> models.Invocation | None:
        before, self.seen = self.seen, event.id or self.seen
        if event.id and before is not None and _sequence(event.id) <= _sequence(before):
            return None  # ids only grow, and a reconnected stream may repeat
        self.last = models.Invocation.of(wire.decode(event.data.encode()))
        return self.last

    def _part(self, event: ServerEvent) -> Part | None:
        """A snapshot or a reset replaces whatever there is; anything else counts only once, by its place."""
        data = wire.decode(event.data.encode())
        replaces = event.type != "output.delta"
        part = Part(tuple(data.get("choices", ())), replaces, data["attempt"], data.get("n", 0))
        self.seen = event.id or self.seen
        if not replaces and (part.attempt, part.n) <= self._place:
            return None
        self._place = (part.attempt, part.n)
        self.answer.add(part)
        return part


def _sequence(identifier: str) -> int:
    """The number of the state in an event's id: `3`, or `3.1-27` after a part of the answer."""
    number = identifier.partition(".")[0]
    return int(number) if number.isdigit() else 0


def states_of(context: Context, identifier: str, last_event_id: str | None) -> Operation[models.Invocation]:
    """Emits every state after that event, each once, until the end."""
    return (yield from follow(context, Followed(identifier, seen=last_event_id)))


def answer_of(job: AnyJob, timeout: float | None) -> Operation[AnyJob]:
    """Emits the job and the parts of its answer, whatever was missed of them on the way."""
    yield from emit(job)
    until = float("inf") if timeout is None else job._context.now() + timeout
    followed = Followed(job.id, with_output=True, last=job.invocation, until=until)
    try:
        yield from follow(job._context, followed)
    finally:
        job.invocation = followed.last or job.invocation
    rest = followed.answer.missing(job.output)
    if rest is not None:
        yield from emit(rest)
    if job.status != "succeeded":
        raise ended(job)
    return job


def follow(context: Context, followed: Followed) -> Operation[models.Invocation]:
    """Emits what is new, until the end, over lost connections and outages. Raises WaitTimeout."""
    while not followed.ended:
        try:
            yield from _one_stream(context, followed)
        except Timeout:
            yield from _poll(context, followed, SLICE)
        except (ConnectionFailed, ApiError) as error:
            if not is_outage(error):
                raise
            logger.info("the stream of %s was cut: %s", followed.identifier, error)
        if not followed.ended:
            _check_time(context, followed)
            yield from sleep(PAUSE)
    if followed.last is None:
        raise AssertionError("an end has been seen")
    return followed.last


def _check_time(context: Context, followed: Followed) -> None:
    if followed.last is not None and context.now() >= followed.until:
        raise WaitTimeout(context.job(followed.last, False))


def _poll(context: Context, followed: Followed, wait: int) -> Operation[None]:
    """Ask, where a stream brings nothing."""
    _check_time(context, followed)
    longest = int(max(1.0, min(wait, followed.until - context.now()))) if wait else 0
    try:
        found = yield from read_invocation(context, followed.identifier, longest, followed.until)
    except (ConnectionFailed, ApiError) as error:
        if followed.last is None or not is_outage(error):
            raise
        raise WaitTimeout(context.job(followed.last, False)) from error
    last, followed.last = followed.last, found
    if not followed.with_output and (last is None or (found.status, found.attempts) != (last.status, last.attempts)):
        yield from emit(found)


def _request(context: Context, followed: Followed) -> Request:
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": followed.seen} if followed.seen else {})
    query = {} if followed.with_output else {"output": False}
    request = request_of(
        context, "invocations_events", {"invocation_id": followed.identifier}, query=query, headers=headers
    )
    left = max(1.0, followed.until - context.now())
    return replace(request, stream=True, timeout=min(SILENCE, left))


def _one_stream(context: Context, followed: Followed) -> Operation[None]:
    """Emits what one connection brings."""
    response = yield from call(context, _request(context, followed), until=_end(context, followed))
    if response.stream is None:  # 204: nothing more will come
        return (yield from _poll(context, followed, 0))
    parser = Parser()
    while not followed.ended:
        part = yield from read(response)
        for event in parser.feed(part):
            found = followed.take(event)
            if isinstance(found, Part if followed.with_output else models.Invocation):
                yield from emit(found)
        if not part:
            break
        _check_time(context, followed)
    yield from close(response)
    return None


def _end(context: Context, followed: Followed) -> float:
    return min(followed.until, context.now() + context.timeout * (context.retries + 1))
