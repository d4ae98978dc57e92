"""The events of one invocation as they are sent: its changes of status, and the parts of an answer that is streamed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, TypedDict

from flask import Response

from common import invocations
from common.invocations import Invocation
from common.invocations.streams import START, OutputPart, PartId
from common.kit import jsonb, sse
from web.http import auth, output_waiting, status_changes, streams, waiting
from web.http.fields import Flag
from web.http.schemas import QueryArguments

#: A change of status; or the place of a part, after the change that was the last before it.
_EVENT_ID: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9})-([0-9]{1,9}))?")


class EventsQuery(QueryArguments):
    output = Flag(load_default=True, metadata={"description": "`false`: only changes of status, no `output.*` events."})


class EventsArguments(TypedDict):
    """What `EventsQuery` loads."""

    output: bool


def events(invocation: Invocation, last_event_id: str, *, with_output: bool) -> Response:
    """The response. `last_event_id`: of the event after which it goes on. Raises `RateLimited`."""
    found = _EVENT_ID.fullmatch(last_event_id)
    sequence = None if found is None else int(found[1])
    place = START if found is None or found[2] is None else PartId(int(found[2]), int(found[3]))
    waiter = waiting.register(invocation.user_id, invocation.id)
    reader = output_waiting.readers.add(waiter, place) if with_output and invocation.stream else None

    def closed() -> None:
        waiting.registry.remove(waiter)
        if reader is not None:
            output_waiting.readers.remove(reader)

    changes = status_changes.changes(waiter, invocation, sequence, None if reader is None else reader.until_told)
    if sequence is not None and place == START:
        changes = _replacing(changes)
    return streams.events(_written(changes, sequence, place, auth.authorization_check()), closed)


def _replacing(changes: Iterator[Invocation | OutputPart | None]) -> Iterator[Invocation | OutputPart | None]:
    """The first part as all so far: who comes back after a change of status may have parts that came before it."""
    for change in changes:
        if isinstance(change, OutputPart):
            yield change._replace(is_snapshot=True)
            break
        yield change
    yield from changes


def _written(
    changes: Iterator[Invocation | OutputPart | None],
    sequence: int | None,
    place: PartId,
    authorized: Callable[[], bool],
) -> Iterator[bytes]:
    """Each change as an event, while the caller is authorized. Runs outside the request context."""
    for change in changes:
        if isinstance(change, OutputPart):
            yield from _part(change, sequence or 0, place)
            place = change.place
            continue
        if not authorized():
            return
        if change is None:
            yield b": still here\n"  # without an empty line, which some clients take for an event without data
            continue
        name = "snapshot" if sequence is None else f"invocation.{change.status}"
        sequence = change.sequence
        yield sse.written(name, jsonb.dumps(invocations.represent(change)), str(sequence))


def _part(part: OutputPart, sequence: int, after: PartId) -> Iterator[bytes]:
    attempt, n = part.place
    if after.attempt not in (0, attempt) and not part.is_snapshot:
        yield sse.written("output.reset", f'{{"attempt":{attempt}}}', f"{sequence}.{attempt}-0")
    name = "output.snapshot" if part.is_snapshot else "output.delta"
    yield sse.written(name, f'{{"attempt":{attempt},"n":{n},"choices":{part.choices}}}', f"{sequence}.{part.place}")
