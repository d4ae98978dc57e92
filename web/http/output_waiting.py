"""Readers of streamed answers: one subscription for all of a process, and one read of the logs at a time.

Workers publish the ids of invocations whose logs have grown. A reader that has been given everything it asked for is
read on for, together with all others; one whose client is slow asks for nothing meanwhile, and reads on from where it
is. Nothing is kept for it but its place: what the log no longer has, it gets as one snapshot.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import UUID

from common.invocations import streams
from common.invocations.streams import START, LogKey, OutputPart, PartId
from common.kit import apart, clock, log, redis
from web.http.waiting import Waiter

logger = log.get(__name__)

#: All logs are looked at so often, in seconds, whatever is published.
LOOK_SECONDS = 2.0
#: Between two reads, in seconds: what is published meanwhile is read together.
PAUSE_SECONDS = 0.005
#: Logs that are read at a time: each part is then written to its client, while those that come later wait.
AT_A_TIME = 20


class OutputReader:
    """Reads the log of one invocation after the place `after`, for a client that waits with `waiter`."""

    def __init__(self, readers: OutputReaders, waiter: Waiter, after: PartId) -> None:
        self.key = LogKey(waiter.user_id, waiter.invocation_id)
        self.after = after
        self.grown = self.asks = True
        self._readers, self._waiter = readers, waiter
        self._parts: list[OutputPart] = []

    def until_told(self, due: float) -> Iterator[OutputPart]:
        """The parts as they come, until the status may have changed, or until `due` (monotonic)."""
        while not self._waiter.told and (left := due - clock.monotonic()) > 0:
            yield from self._taken()
            self._waiter.wait(left)
        self._waiter.told = False

    def _taken(self) -> list[OutputPart]:
        parts, self._parts = self._parts, []
        self.asks = True
        if self.grown:
            self._readers.news.set()
        return parts

    def give(self, parts: list[OutputPart]) -> None:
        """For the thread that reads: what comes next."""
        self.after, self.asks = parts[-1].place, False
        self._parts = parts
        self._waiter.changed.set()


class OutputReaders:
    """All readers of this process. The first one starts its two threads (greenlets under gevent)."""

    def __init__(self) -> None:
        self.news = threading.Event()
        self._readers: dict[UUID, set[OutputReader]] = {}
        self._first: set[OutputReader] = set()
        self._first_news = threading.Event()
        self._lock = threading.Lock()
        self._started = False

    def add(self, waiter: Waiter, after: PartId = START) -> OutputReader:
        """Register a client; undo with `remove`."""
        reader = OutputReader(self, waiter, after)
        with self._lock:
            self._readers.setdefault(waiter.invocation_id, set()).add(reader)
            started, self._started = self._started, True
        if not started:
            threading.Thread(target=self._listen, name="output-listen", daemon=True).start()
            threading.Thread(target=self._read_on, name="output-read", daemon=True).start()
        self.news.set()
        return reader

    def remove(self, reader: OutputReader) -> None:
        """Remove a reader; does nothing if it was removed before."""
        with self._lock:
            others = self._readers.get(reader.key.invocation_id, set())
            others.discard(reader)
            self._first.discard(reader)
            if not others:
                self._readers.pop(reader.key.invocation_id, None)

    # -- the two threads -------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        while True:
            try:
                with redis.reachable(), streams.subscriber() as client, client.pubsub() as pubsub:
                    pubsub.subscribe(streams.CHANNEL)
                    for message in pubsub.listen():
                        if message["type"] == "subscribe":
                            self._on_grown(self._all())
                        elif message["type"] == "message":
                            self._on_message(message["data"])
            except redis.RedisUnreachable:
                clock.sleep(0.5)

    def _on_message(self, text: str) -> None:
        try:
            ids = [UUID(id_) for id_ in text.split()]
        except ValueError:
            logger.warning("malformed message dropped", channel=streams.CHANNEL)
            return
        with self._lock:
            grown = [reader for id_ in ids for reader in self._readers.get(id_, ())]
        self._on_grown(grown)

    def _on_grown(self, readers: list[OutputReader]) -> None:
        for reader in readers:
            reader.grown = True
        if readers:
            self.news.set()
        if first := [reader for reader in readers if reader.after == START]:
            with self._lock:
                self._first.update(first)
            self._first_news.set()

    def _all(self) -> list[OutputReader]:
        with self._lock:
            return [reader for readers in self._readers.values() for reader in readers]

    def _read_on(self) -> None:
        while True:
            everything = not self.news.wait(LOOK_SECONDS)
            self.news.clear()
            with apart.logged(logger, "reading streams failed"):
                try:
                    self._read(everything=everything)
                except redis.RedisUnreachable as error:
                    logger.warning("streams not read: redis unreachable", reason=str(error) or type(error).__name__)
                    clock.sleep(LOOK_SECONDS)
            self._first_news.wait(PAUSE_SECONDS)
            self._first_news.clear()

    def _read(self, *, everything: bool) -> None:
        """A few at a time, and before them those that have had nothing yet."""
        self._read_some(self._take_first())
        waiting = [each for each in self._all() if each.asks and (each.grown or everything)]
        for start in range(0, len(waiting), AT_A_TIME):
            self._read_some(self._take_first())
            self._read_some(waiting[start : start + AT_A_TIME])

    def _take_first(self) -> list[OutputReader]:
        with self._lock:
            first, self._first = self._first, set()
        return [each for each in first if each.grown]

    def _read_some(self, waiting: list[OutputReader]) -> None:
        missed = self._give([each for each in waiting if each.asks])  # others have been given something meanwhile
        self._give(missed, from_start=True)

    def _give(self, waiting: list[OutputReader], *, from_start: bool = False) -> list[OutputReader]:
        """Give what comes after their places, or the whole log. Returns those that miss something in between."""
        if not waiting:
            return []
        for reader in waiting:
            reader.grown = False
        missed = []
        places = [(reader.key, START if from_start else reader.after) for reader in waiting]
        read = _read_once(places)
        for reader, place in zip(waiting, places, strict=True):
            parts = read[place]
            if not parts:
                continue
            reader.grown = reader.grown or len(parts) == streams.READ_MOST
            if from_start:
                reader.give([parts[0]._replace(is_snapshot=True), *parts[1:]])
            elif parts[0].is_snapshot or reader.after.precedes(parts[0].place):
                reader.give(parts)
            else:
                missed.append(reader)
        return missed


def _read_once(places: list[tuple[LogKey, PartId]]) -> dict[tuple[LogKey, PartId], list[OutputPart]]:
    """What is in the logs after these places; once for all who are at the same one."""
    each = list(dict.fromkeys(places))
    return dict(zip(each, streams.read(each), strict=True))


readers = OutputReaders()
