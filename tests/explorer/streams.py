"""Streamed answers: a start state, the tool that writes them, its readers, and what must hold of them whatever happens.

Only the tool and its readers are not real. A worker's own threads run between two pieces of the answer: a round of the
publisher, whose exchanges meet faults like any other, and a heartbeat, which learns of cancels.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from greenlet import greenlet

from common import invocations
from common.invocations import ClaimOptions, Task
from common.invocations.streams import LogKey
from common.kit import apart, clock, db, log, redis, seam
from common.kit.outbound import Broken, Call, OutboundClient, StreamedAnswer
from common.tools.adapters import Reply, chat_stream
from worker import runner
from worker.heartbeat import WorkerProcess

logger = log.get(__name__)

#: What the tool says. It costs its number of characters, and one: as much as the call of any other tool here.
PIECES = ("ab", "cd", "ef")
TEXT = "".join(PIECES)
_PRICE = {
    "base_tokens": 1,
    "per_unit": {"pointer": "/usage/total_tokens", "tokens": 1, "unit": "character"},
    "max_tokens": 10,
    "metered": {"chars_per_unit": 1, "input": False},
}
#: How the tool is declared.
TOOL: dict[str, Any] = {"adapter": "chat_completion", "streaming": True, "price": _PRICE}
#: Seconds between two pieces: longer than a publisher waits after a failure.
_PAUSE = 1.5
#: The tool breaks off after so many pieces, in the verb that is about that.
_BROKEN_AFTER = 1


@dataclass(slots=True)
class Streams:
    """What readers have read of each answer, and of which attempt; what they were told of ends; which processes wrote.

    `unfinished`: the tool breaks off.
    """

    log: Any = None  # redis-py's own types leave open what it answers with
    read: dict[UUID, str] = field(default_factory=dict)
    attempts: dict[UUID, int] = field(default_factory=dict)
    ends: dict[UUID, str] = field(default_factory=dict)
    processes: list[WorkerProcess] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unfinished: bool = False

    def again(self, log: Any) -> Streams:
        """As it was when the start state was made."""
        return Streams(log, read=dict(self.read), attempts=dict(self.attempts))

    def process(self, id_: UUID) -> WorkerProcess:
        """A worker process without threads of its own."""
        process = WorkerProcess()
        process.id = id_
        process._known.set()
        process.publisher._thread = threading.current_thread()  # it is there: its rounds are run by the tool
        self.processes.append(process)
        return process

    # -- the tool --------------------------------------------------------------------------------------------------

    def call(self, ids: Any, ask: Any) -> Reply:
        """The answer to a call, through the adapter that would ask for it."""
        _, request, sink = ask.args
        self.look()
        if sink._attempt >= self.attempts.get(ids.invocation_id, sink._attempt + 1):
            self.problems.append(f"attempt {sink._attempt} begins, although some of an answer was read")
        process = next(each for each in self.processes if each.publisher is sink._publisher)
        return chat_stream.ask(_Tool(self, process), request, sink)

    def written(self, process: WorkerProcess, call: Call) -> Iterator[bytes]:
        """The answer, piece by piece; between two of them, whoever else has to do with it goes on."""
        for number, piece in enumerate(PIECES):
            if self.unfinished and number == _BROKEN_AFTER:
                raise Broken("The connection was closed.", sent=True, status=200)
            yield _event({"choices": [{"index": 0, "delta": {"content": piece}}]})
            if number < len(PIECES) - 1:
                with apart.logged(logger, "publishing streams failed"):
                    process.publisher._publish()
                self.look()
                seam.passing("piece", None, None, lambda: clock.sleep(_PAUSE))
                greenlet(lambda: _beat(process)).switch()
                call.check()
        yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        yield b"data: [DONE]\n\n"

    # -- its readers -----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Readers read on, wherever there is a log."""
        for key in self.log.keys("out:*"):
            id_ = UUID(key.decode().rpartition(":")[2])
            text = self._text(entries := self.log.xrange(key))
            known = self.read.get(id_, "")
            if not text.startswith(known) and not known.startswith(text):
                self.problems.append(f"{text!r} was read after {known!r}")
            self.read[id_] = max(known, text, key=len)
            self.attempts[id_] = int(entries[-1][0].partition(b"-")[0])

    def _text(self, entries: Any) -> str:
        text, before = "", (0, 0)
        for place, fields in entries:
            attempt, number = map(int, place.split(b"-"))
            begins = number == 1 or fields[b"snapshot"] == b"1"
            if not begins and (attempt, number) != (before[0], before[1] + 1):
                self.problems.append(f"a log goes on with {place!r} after {before}")
            deltas = [choice["delta"] for choice in json.loads(fields[b"choices"])]
            text = ("" if begins else text) + "".join(delta.get("content") or "" for delta in deltas)
            before = attempt, number
        return text

    def hear(self, connection: psycopg.Connection[Any]) -> None:
        """Clients ask for the ends of their invocations, and compare them with what they were told before."""
        for id_, *end in connection.execute(_ENDS):
            if self.ends.setdefault(id_, str(end)) != str(end):
                self.problems.append(f"told {self.ends[id_]}, and then {end}")


class _Tool(OutboundClient):
    """The way to the tool."""

    def __init__(self, streams: Streams, process: WorkerProcess) -> None:
        self._streams, self._process = streams, process

    @contextmanager
    def stream(self, *_: Any, call: Call | None = None, **__: Any) -> Iterator[StreamedAnswer]:
        head = {"content-type": "text/event-stream"}
        yield StreamedAnswer(200, head, self._streams.written(self._process, call or Call()))


def _event(chunk: Mapping[str, object]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _beat(process: WorkerProcess) -> None:
    """What the heartbeat's thread does once a second. Its exchanges are nobody's: explored are those of the call."""
    with suppress(db.Unreachable, redis.RedisUnreachable):
        process._heartbeat()


# -- the start state -----------------------------------------------------------------------------------------------


def begin(task: Task, streams: Streams, worker: UUID) -> None:
    """Its worker shows the first piece of the answer, somebody reads it, and the worker dies."""
    publisher, key = streams.process(worker).publisher, LogKey(task.user_id, task.id)
    stream = publisher.open(key, task.attempt, lambda: invocations.mark_dispatched(task))
    stream.add({"choices": [{"index": 0, "delta": {"content": PIECES[0]}}]})
    publisher._publish()
    streams.read[task.id], streams.attempts[task.id] = PIECES[0], task.attempt
    invocations.leave(worker)


# -- verbs ---------------------------------------------------------------------------------------------------------


def break_off(world: Any, _name: str) -> None:
    """The worker that has a task goes on with it, and the tool breaks off after its first piece."""
    world.streams.unfinished = True
    try:
        runner.run(world.process(world.me.id), world.task, lambda: ClaimOptions(world.me.id, take_next=False))
    finally:
        world.streams.unfinished = False


VERBS = {"break off": break_off}

# -- what must hold ------------------------------------------------------------------------------------------------

_ENDS = b"select id, status, charged, output::text from invocations where stream and status <> 'open'"
_ANSWERS = b"""
select i.id, i.status, i.charged, i.output, i.basis,
       exists (select from attempts a where a.invocation_id = i.id and a.detail like '%worker died%')
  from invocations i where i.stream and i.status <> 'open'
"""


def broken(streams: Streams, connection: psycopg.Connection[Any]) -> list[str]:
    """What does not hold of the answers that have ended."""
    streams.look()
    streams.hear(connection)
    found = list(streams.problems)
    for id_, status, charged, output, basis, died in connection.execute(_ANSWERS):
        said = f"{status}, charged {charged} ({basis}), {output}, read {streams.read.get(id_)!r}"
        found += [f"{problem}: {said}" for problem in _wrong(status, charged, output, streams.read.get(id_, ""), died)]
    for process in streams.processes:
        if process.publisher._live:
            found.append("a stream was not closed")
    return found


def due(status: str, output: Any) -> int:
    """What an answer costs: its characters and one, if anything of it was delivered."""
    return 1 + len(_content(output)) if status in ("succeeded", "canceled") and output is not None else 0


def _content(output: Any) -> str:
    return str(output["choices"][0]["message"]["content"]) if output["choices"] else ""


def _wrong(status: str, charged: int, output: Any, read: str, died: bool) -> Iterator[str]:
    if charged != due(status, output):
        yield f"{due(status, output)} is due"
    if status == "failed" and output is not None:
        yield "a failed answer is kept"
    if status == "succeeded" and _content(output) != TEXT:
        yield "another answer"
    if output is not None and not output["choices"]:
        yield "an answer of which nothing was shown is kept"
    elif status == "canceled" and output is not None and output["choices"][0]["finish_reason"] != "canceled":
        yield "a canceled answer looks whole"
    if status == "canceled" and output is None and read and not died:
        yield "what was read of a canceled answer is not kept"
    if output is not None and not (TEXT.startswith(_content(output)) and _content(output).startswith(read)):
        yield "what was read is not how the answer begins"
