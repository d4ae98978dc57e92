"""The streams of this process: what tools say is put into logs by one thread, a few times a second, for all of them.

A stream never waits for Redis, and no reader can slow it down. What is *shown* is what was sent to the log, even if
Redis has not answered: a reader may have seen it. While Redis is away, nothing is sent; afterwards a snapshot is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Set
from itertools import count
from typing import Final

from common.invocations import streams
from common.invocations.streams import LogKey, OutputPart, PartId
from common.kit import apart, clock, db, failpoints, log, redis
from common.kit.outbound import Aborted
from common.tools import streamed
from common.tools.adapters import Sink
from common.tools.streamed import Chunk, Json
from worker.reader_watch import ReaderWatch

logger = log.get(__name__)

#: Seconds between two rounds, and what each stream adds to them: many make a round expensive.
TICK: Final = 0.05
TICK_OF_EACH: Final = 0.001
#: Text in one log, in bytes; beyond it only the end is shown.
MAX_SHOWN: Final = 1024 * 1024
#: Parts after which a log begins anew, with a snapshot.
SNAPSHOT_EVERY: Final = 1_000
#: Seconds until Redis is tried again after a failure, and between two looks at its memory.
PAUSE: Final = 1.0
LOOK_EVERY: Final = 5.0


class LiveStream(Sink):
    """What one attempt says. The thread that calls the tool adds to it; the publisher takes from it.

    `fence` is asked before anything is shown, because after that the call is never repeated; it returns whether the
    invocation is still this attempt's. `started`: something is to be shown. `shown`: what may have been.
    """

    def __init__(self, publisher: StreamPublisher, key: LogKey, attempt: int, fence: Callable[[], bool]) -> None:
        self.shown = streamed.Assembly()
        self.started = self.silent = False
        self.size = 0
        self.key = key
        self._publisher, self._attempt, self._fence = publisher, attempt, fence
        self._pending = streamed.Pending()
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._since_snapshot = 0
        self._broken = False

    # -- the thread that calls the tool ----------------------------------------------------------------------------

    def add(self, chunk: Chunk) -> None:
        """Show a chunk. Raises `Aborted` if the invocation is not this attempt's any more."""
        choices = streamed.choices_of(chunk)
        self.shown.add({**chunk, "choices": ()})
        if self.silent or not choices:
            return
        with self._lock:
            self._pending.add(choices)
        if not self.started and any(streamed.text_of(choice) != "" for choice in choices):
            self._start()

    def _start(self) -> None:
        try:
            if not self._fence():
                raise Aborted(sent=True)
        except db.Unreachable:
            self.silent = True
            return
        self.started = True
        self._publisher.hurry(self)

    def pause(self) -> None:
        """Let the tool write on for as long as a round takes."""
        if self.started:
            clock.sleep(self._publisher.tick)

    # -- the publisher's thread ------------------------------------------------------------------------------------

    def take(self) -> list[tuple[LogKey, OutputPart]]:
        """What is to be sent now."""
        if self.silent or not self.started:
            return []
        with self._lock:
            choices = self._pending.take()
        if not choices and not self._broken:
            return []
        try:
            return self._parts(choices)
        except streams.PartTooLarge:
            self.silent = True
            return []

    def _parts(self, choices: list[Json]) -> list[tuple[LogKey, OutputPart]]:
        is_snapshot = self._broken or self._since_snapshot >= SNAPSHOT_EVERY
        if is_snapshot:
            self.shown.write(choices)
            pages = streams.pages(streamed.as_deltas(self.shown.choices()))
            self.size = self._since_snapshot = 0
        else:
            pages = streams.pages(choices)
            self.shown.write(choices)
        self._broken = False
        self._since_snapshot += len(pages)
        self.size += sum(map(len, pages))
        self.silent = self.size > MAX_SHOWN
        places = [PartId(self._attempt, next(self._numbers)) for _ in pages]
        parts = [OutputPart(place, page) for place, page in zip(places, pages, strict=True)]
        return [(self.key, part._replace(is_snapshot=is_snapshot and part is parts[0])) for part in parts]

    @property
    def was_shown(self) -> bool:
        """Whether anything of it may have been shown. (It can have `started` without: Redis was away.)"""
        return bool(self.shown.choices())

    def lost(self) -> None:
        """Some of what was sent may not have arrived."""
        self._broken = True


class StreamPublisher:
    """All streams of this process, and the thread that publishes them. It starts with the first one.

    `most`: bytes of all logs together, beyond which new streams are silent.
    """

    def __init__(self, most: int = 256 * 1024 * 1024) -> None:
        self.most = most
        self.readers = ReaderWatch()
        self._live: set[LiveStream] = set()
        self._starting, self._publishing = threading.Lock(), threading.Lock()
        self._hurry = threading.Event()
        self._first: deque[LiveStream] = deque()
        self._thread: threading.Thread | None = None
        self._not_before = self._look_at = 0.0

    @property
    def tick(self) -> float:
        """Seconds between two rounds."""
        return max(TICK, TICK_OF_EACH * len(self._live))

    def open(self, key: LogKey, attempt: int, fence: Callable[[], bool]) -> LiveStream:
        """A stream begins; `close` it in any case."""
        stream = LiveStream(self, key, attempt, fence)
        with self._publishing:
            stream.silent = sum(each.size for each in self._live) > self.most
            self._live.add(stream)
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="stream-publisher", daemon=True)
                self._thread.start()
        return stream

    def close(self, stream: LiveStream) -> None:
        """Show nothing more of a stream: from now on `shown` stays as it is."""
        with self._publishing:
            self._live.discard(stream)

    def hurry(self, stream: LiveStream) -> None:
        """Publish its first part now, and nothing else: what others have said is still gathered."""
        self._first.append(stream)
        self._hurry.set()

    def _run(self) -> None:
        due = 0.0
        while True:
            hurried = self._hurry.wait(max(0.0, due - clock.monotonic()) if self._live else None)
            self._hurry.clear()
            with apart.logged(logger, "publishing streams failed"):
                if hurried:
                    self._publish(self._take_first())
                if clock.monotonic() >= due:
                    self._publish()
                    due = clock.monotonic() + self.tick

    def _take_first(self) -> set[LiveStream]:
        return {self._first.popleft() for _ in range(len(self._first))}

    def _publish(self, which: Set[LiveStream] | None = None) -> None:
        with self._publishing:
            live = self._live if which is None else which & self._live
            if clock.monotonic() < self._not_before or not live:
                return
            taken: dict[LiveStream, list[tuple[LogKey, OutputPart]]] = {}
            try:
                self.readers.look([stream.key.invocation_id for stream in self._live])
                if self._has_room():
                    taken.update((stream, parts) for stream in live if (parts := stream.take()))
                    self._send(taken)
            except redis.RedisUnreachable as error:
                self._postpone(str(error) or type(error).__name__, taken)

    def _has_room(self) -> bool:
        """Whether Redis has memory for logs; looks now and then."""
        if clock.monotonic() >= self._look_at:
            self._look_at = clock.monotonic() + LOOK_EVERY
            if not streams.has_room():
                self._not_before = self._look_at
                self.readers.forget()
                logger.warning("streams not published: redis is almost full")
                return False
        return True

    def _postpone(self, reason: str, taken: dict[LiveStream, list[tuple[LogKey, OutputPart]]]) -> None:
        self._not_before = clock.monotonic() + PAUSE
        self.readers.forget()
        logger.warning("streams not published: redis unreachable", reason=reason, streams=len(taken))
        for stream in taken:
            stream.lost()

    def _send(self, taken: dict[LiveStream, list[tuple[LogKey, OutputPart]]]) -> None:
        parts = [part for each in taken.values() for part in each]
        if not parts:
            return
        arrived = iter(streams.put(parts))
        for stream, sent in taken.items():
            there = [next(arrived) for _ in sent]
            if not all(there):
                stream.lost()
        first = any(part.place.n == 1 for _, part in parts)
        failpoints.at("stream.first_part" if first else "stream.mid")
