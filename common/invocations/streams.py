"""The log of a streamed answer: what of it was shown while it is made, in Redis.

It is a window, not the truth: the answer that counts is written with the end of its invocation, and a log may be lost
at any moment. Each invocation has a log of its own, made of *parts*: choices of the answer, or a *snapshot* of all so
far. A log always begins with its first part or with a snapshot: a reader that has missed something goes on from there.

Only this module knows the keys. They may be in a Redis of their own (`STREAM_URL`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from common.kit import jsonb, redis

#: On this channel the ids are published of invocations whose logs have grown.
CHANNEL: Final = "out"
#: A part, in bytes; and the text in one of its choices, in characters (at most six bytes each, in JSON).
MAX_PART: Final = 60_000
MAX_TEXT: Final = 8_000
#: Seconds that a log is kept: longer than any call takes.
KEPT_SECONDS: Final = 900
#: Seconds for which a reader counts after it was last seen; and for which it is known that a stream is made for readers
#: alone: as long as it may wait for its turn.
READER_SECONDS: Final = 15
CANCELS_SECONDS: Final = 86_400
#: The share of Redis' memory beyond which nothing is logged, so that others who need it find room.
FULL: Final = 0.8
#: Parts that are read at a time.
READ_MOST: Final = 500


class PartId(NamedTuple):
    """Where a part is: the attempt that wrote it, and its number in that. `START` is before all."""

    attempt: int
    n: int

    def __str__(self) -> str:
        return f"{self.attempt}-{self.n}"

    def precedes(self, other: PartId) -> bool:
        """Whether nothing is between them."""
        return other == (self.attempt, self.n + 1) or (other.n == 1 and other.attempt > self.attempt)


START: Final = PartId(0, 0)


class LogKey(NamedTuple):
    """Whose log it is."""

    user_id: UUID
    invocation_id: UUID

    def __str__(self) -> str:
        return f"out:{{{self.user_id}}}:{self.invocation_id}"


class OutputPart(NamedTuple):
    """`choices`: JSON text of a list. `is_snapshot`: what came before it is in it."""

    place: PartId
    choices: str
    is_snapshot: bool = False


class PartTooLarge(Exception):
    """A choice alone is larger than a part may be."""


class _StreamsState:
    client: redis.Client | None = None
    url: str | None = None


def connect(url: str, *, shared: bool) -> None:
    """Where the logs are. `shared`: in this process's own Redis."""
    dispose()
    _StreamsState.url = None if shared else url
    _StreamsState.client = None if shared else redis.make_client(url)


def dispose() -> None:
    """Close the connections to a Redis for logs alone."""
    if _StreamsState.client is not None:
        _StreamsState.client.close()
        _StreamsState.client = None


def _client() -> redis.Client:
    return _StreamsState.client or redis.client()


def subscriber() -> redis.Client:
    """A client for listening to `CHANNEL`."""
    return redis.subscriber(_StreamsState.url)


# -- writing -------------------------------------------------------------------------------------------------------


def pages(choices: Sequence[dict[str, object]]) -> list[str]:
    """The choices as parts of at most `MAX_PART` bytes, in order. Raises `PartTooLarge`."""
    found: list[list[bytes]] = []
    size = MAX_PART
    for choice in choices:
        for piece in map(jsonb.encoded, _sliced(choice)):
            if len(piece) > MAX_PART:
                raise PartTooLarge
            size += len(piece) + 1
            if size > MAX_PART:
                found.append([])
                size = len(piece)
            found[-1].append(piece)
    return [(b"[" + b",".join(pieces) + b"]").decode() for pieces in found]


def _sliced(choice: dict[str, object]) -> Iterator[dict[str, object]]:
    delta = choice.get("delta")
    text = delta.get("content") if isinstance(delta, dict) else None
    if not isinstance(delta, dict) or not isinstance(text, str) or len(text) <= MAX_TEXT:
        yield choice
        return
    for start in range(0, len(text), MAX_TEXT):
        yield {"index": choice.get("index", 0), "delta": {"content": text[start : start + MAX_TEXT]}}
    yield {**choice, "delta": {name: value for name, value in delta.items() if name != "content"}}


def put(parts: Sequence[tuple[LogKey, OutputPart]]) -> list[bool]:
    """Append to logs, and tell their readers. Returns which parts are there now.

    The first part of an attempt and a snapshot begin a log; any other is dropped where its log is gone.
    Raises `redis.RedisUnreachable`: any of them may be there.
    """
    with redis.reachable():
        pipeline = _client().pipeline(transaction=False)
        answers = [_append(pipeline, key, part) for key, part in parts]
        pipeline.publish(CHANNEL, " ".join({str(key.invocation_id) for key, _ in parts}))
        told = pipeline.execute(raise_on_error=False)
    return [isinstance(told[at], str) for at in answers]


def _append(pipeline: redis.Pipeline, key: LogKey, part: OutputPart) -> int:
    """Add the commands; returns where the answer is that tells whether the part was taken."""
    place, begins = str(part.place), part.is_snapshot or part.place.n == 1
    pipeline.xadd(
        str(key),
        {"choices": part.choices, "snapshot": int(part.is_snapshot)},
        id=place,
        nomkstream=not begins,
        minid=place if begins else None,
        approximate=False,
    )
    at = len(pipeline) - 1
    if begins:
        pipeline.expire(str(key), KEPT_SECONDS)
    return at


def has_room() -> bool:
    """Whether Redis has memory for logs. Raises `redis.RedisUnreachable`."""
    with redis.reachable():
        memory = _client().info("memory")
    return bool(memory["used_memory"] < FULL * (memory["maxmemory"] or memory["total_system_memory"]))


# -- reading -------------------------------------------------------------------------------------------------------


def read(wanted: Sequence[tuple[LogKey, PartId]]) -> list[list[OutputPart]]:
    """What is in each log after that place, up to `READ_MOST` parts. Raises `redis.RedisUnreachable`."""
    places = iter(wanted)

    def ask(pipeline: redis.Pipeline, key: str) -> None:
        pipeline.xrange(key, min=f"({next(places)[1]}", count=READ_MOST)

    return [_parts(answers) for answers in redis.each([str(key) for key, _ in wanted], ask, _client())]


def _parts(answers: redis.Answers) -> list[OutputPart]:
    """None in something that is no log of ours: that of one invocation must not end the others."""
    if not isinstance(answers, list):
        return []
    try:
        return [_part(place, fields) for place, fields in answers[0]]
    except (KeyError, ValueError):
        return []


def _part(place: str, fields: dict[str, str]) -> OutputPart:
    attempt, _, n = place.partition("-")
    return OutputPart(PartId(int(attempt), int(n)), fields["choices"], fields["snapshot"] == "1")


# -- who reads -----------------------------------------------------------------------------------------------------


class ReadersSeen(NamedTuple):
    """`server`: the run of Redis that says so; `unread`: streams that are made for readers, and have none."""

    server: str
    unread: frozenset[UUID]


def note_readers(read: Collection[UUID], cancels: Collection[UUID]) -> None:
    """These are being read. `cancels`: those to be canceled once they are not. Raises `redis.RedisUnreachable`."""
    if not read:
        return
    with redis.reachable():
        pipeline = _client().pipeline(transaction=False)
        for id_ in read:
            pipeline.set(f"reader:{id_}", "1", ex=READER_SECONDS)
        for id_ in cancels:
            pipeline.set(f"cancels:{id_}", "1", ex=CANCELS_SECONDS)
        pipeline.execute()


def forget_reader(invocation_id: UUID) -> None:
    """A process has no reader of it any more; others say so anew if they have. Raises `redis.RedisUnreachable`."""
    with redis.reachable():
        _client().delete(f"reader:{invocation_id}")


def readers_of(ids: Sequence[UUID]) -> ReadersSeen:
    """Which of these nobody reads, although they are to be read. Raises `redis.RedisUnreachable`."""
    with redis.reachable():
        pipeline = _client().pipeline(transaction=False)
        pipeline.info("server")
        pipeline.mget([f"{name}:{id_}" for name in ("reader", "cancels") for id_ in ids])
        server, found = pipeline.execute()
    read, cancels = found[: len(ids)], found[len(ids) :]
    unread = frozenset(id_ for id_, reader, mark in zip(ids, read, cancels, strict=True) if mark and not reader)
    return ReadersSeen(str(server["run_id"]), unread)
