"""The changes of an invocation that a client follows, and the parts of its answer in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from common import invocations
from common.invocations import Invocation
from common.invocations.streams import OutputPart
from common.kit import clock, db
from web.http import large_reads, waiting
from web.http.stream_readers import StreamReader
from web.http.waiting import Waiter

HEARTBEAT_SECONDS = 10.0
STREAM_SECONDS = 3_600.0


class Following(NamedTuple):
    """How a client follows. `first`: seconds until the first heartbeat, whatever comes before it; `patient`: while
    PostgreSQL is unreachable there is no news; `cancels`: a stream is canceled once nobody reads it any more.
    """

    first: float | None = None
    patient: bool = False
    cancels: bool = False


CALMLY: Final = Following()


def changes(
    waiter: Waiter,
    invocation: Invocation,
    after: int | None,
    parts: Callable[[float], Iterator[OutputPart]] | None = None,
    how: Following = CALMLY,
) -> Iterator[Invocation | OutputPart | None]:
    """Yield the invocation at each observed change of status, completion last, and None as a heartbeat.

    The first value comes at once, then at least one every `HEARTBEAT_SECONDS`. `waiter` is removed at the end;
    `after`: the sequence number that a resuming client has already seen. `parts` yields those of its output in between.
    """
    reading = StreamReader(cancels=how.cancels)
    give_up = clock.monotonic() + STREAM_SECONDS
    seen, due = after, clock.monotonic()
    begun = None if how.first is None else due + how.first
    try:
        reading.begin(invocation)
        while clock.monotonic() < give_up:
            with large_reads.held(invocation.user_id) as was_read:  # until it has been sent
                invocation = _since(seen, invocation, patient=how.patient)
                news = invocation.sequence != seen
                if news:
                    seen, due = invocation.sequence, begun or clock.monotonic() + HEARTBEAT_SECONDS
                    was_read(invocation.payload_bytes)
                    yield invocation
            if not news and not invocation.ended and clock.monotonic() >= due:
                begun, due = None, clock.monotonic() + HEARTBEAT_SECONDS
                yield None
            if invocation.ended:
                return
            if parts is None:
                waiter.wait(due - clock.monotonic())
            else:
                yield from parts(due)
    finally:
        reading.end()
        waiting.registry.remove(waiter)


def _since(seen: int | None, known: Invocation, *, patient: bool) -> Invocation:
    """The current invocation; input and output are read only if it has changed since."""
    try:
        invocation = invocations.get_ended(known.id, known.user_id)
        if invocation.sequence == seen or invocation.ended:
            return invocation
        return invocations.get(known.id, known.user_id)
    except db.Unreachable:
        if not patient:
            raise
        return known
