"""The log of a stream between its writer and its readers: whatever is lost, a reader has what was said, or less of it.

The publisher and the reading thread take one step at a time here; Redis and everything in between are real.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.invocations import streams
from common.invocations.streams import START, LogKey, OutputPart, PartId
from common.kit import redis as redis_kit
from common.kit import seam
from tests.client import eventually
from web.http import output_waiting
from web.http.output_waiting import OutputReaders
from web.http.waiting import Waiter
from worker import stream_publisher
from worker.stream_publisher import LiveStream, StreamPublisher

said = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


def say(stream: LiveStream, text: str) -> None:
    stream.add({"choices": [{"index": 0, "delta": {"content": text}}]})


class Reader:
    """A client: it writes on, replaces, and comes back to where it was."""

    def __init__(self, readers: OutputReaders, key: LogKey) -> None:
        self.readers, self.key = readers, key
        self.text, self.at = "", START
        self.connect()

    def connect(self) -> None:
        self.reader = self.readers.add(Waiter(*self.key), self.at)

    def read(self) -> bool:
        parts = self.reader._taken()
        for part in parts:
            text = "".join(choice["delta"].get("content") or "" for choice in json.loads(part.choices))
            self.text, self.at = text if part.is_snapshot else self.text + text, part.place
        return bool(parts)


class World:
    """A stream, its publisher, and the readers of one web process."""

    def __init__(self) -> None:
        self.key = LogKey(uuid4(), uuid4())
        self.publisher, self.readers = StreamPublisher(), OutputReaders()
        self.readers._started = True  # its threads take no steps of their own
        self.stream = LiveStream(self.publisher, self.key, 1, lambda: True)
        self.publisher._live.add(self.stream)
        self.all, self.clients = "", [Reader(self.readers, self.key)]

    def say(self, text: str) -> None:
        self.all += text
        say(self.stream, text)

    def publish(self) -> None:
        self.publisher._publish()

    def read(self) -> None:
        self.readers._read(everything=True)
        for client in self.clients:
            client.read()
            assert self.all.startswith(client.text)

    def wipe(self) -> None:
        redis_kit.client().flushall()

    def lose(self) -> None:
        """The answer to what was published last."""
        self.stream.lost()

    def join(self) -> None:
        self.clients.append(Reader(self.readers, self.key))

    def come_back(self) -> None:
        self.readers.remove(self.clients[0].reader)
        self.clients[0].connect()


Step = Callable[[World], None]
STEPS: list[Step] = [World.publish, World.read, World.wipe, World.lose, World.come_back, World.join]


@pytest.mark.usefixtures("redis")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(said, st.sampled_from(STEPS)), max_size=40))
def test_a_reader_has_what_was_said_whatever_is_lost(steps: list[str | Step]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stream_publisher, "SNAPSHOT_EVERY", 4)
        patched.setattr(streams, "READ_MOST", 3)
        patched.setattr(streams, "MAX_TEXT", 8)
        patched.setattr(streams, "MAX_PART", 120)
        world = World()
        for step in steps:
            if isinstance(step, str):
                world.say(step)
            else:
                step(world)
        for _ in range(2):  # a loss is seen by the first round after it, and made good by the next
            world.say("end")
            world.publish()
        world.publish()
        while any(client.text != world.all for client in world.clients):
            before = [client.at for client in world.clients]
            world.read()
            assert [client.at for client in world.clients] != before, "nothing more comes"
        assert world.stream.shown.choices()[0]["message"] == {"content": world.all}


def test_a_part_that_is_too_large_for_a_log_ends_what_is_shown(redis: redis_kit.Client) -> None:
    """Only the end tells the rest; what was shown is what it begins with."""
    world = World()
    world.say("before")
    world.publish()
    world.stream.add({"choices": [{"index": 0, "delta": {"tool_calls": ["x" * streams.MAX_PART]}}]})
    world.publish()
    world.say("after")
    world.publish()
    world.read()
    assert (world.clients[0].text, world.stream.shown.choices()[0]["message"]) == ("before", {"content": "before"})


def test_what_is_no_text_is_passed_on_as_it_is_and_in_order(redis: redis_kit.Client) -> None:
    world = World()
    call = {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}, "logprobs": None}
    other = {"index": 1, "delta": {"content": "b"}}
    ends = {"index": 0, "delta": {}, "finish_reason": "stop"}
    for choices in (
        [{"index": 0, "delta": {"role": "assistant", "content": "a"}}, other],
        [other],
        [call],
        [call, ends],
    ):
        world.stream.add({"choices": choices})
    world.say("late")
    world.publish()
    [[part]] = streams.read([(world.key, START)])
    merged = {"index": 1, "delta": {"content": "bb"}}
    first = {"index": 0, "delta": {"role": "assistant", "content": "a"}}
    late = {"index": 0, "delta": {"content": "late"}}
    assert json.loads(part.choices) == [first, merged, call, call, ends, late]
    assert (part.place, part.is_snapshot, redis.ttl(str(world.key)) > 600) == (PartId(1, 1), False, True)


@pytest.mark.parametrize(
    "spoil", [lambda redis, log: redis.set(log, "x"), lambda redis, log: redis.xadd(log, {"a": 1})]
)
def test_a_log_that_cannot_be_read_hides_no_other(
    redis: redis_kit.Client, spoil: Callable[[redis_kit.Client, str], object]
) -> None:
    world, other = World(), LogKey(uuid4(), uuid4())
    world.say("said")
    world.publish()
    spoil(redis, str(other))
    nothing, [part] = streams.read([(other, START), (world.key, START)])
    assert (nothing, "said" in part.choices) == ([], True)


def test_streams_beyond_what_a_process_may_log_are_silent(redis: redis_kit.Client) -> None:
    world = World()
    world.publisher.most = 10
    world.say("more than ten bytes")
    world.publish()
    late = world.publisher.open(LogKey(uuid4(), uuid4()), 1, lambda: True)
    late.add({"choices": [{"index": 0, "delta": {"content": "unheard"}}]})
    world.publisher.close(late)
    assert (world.stream.silent, late.silent, late.started) == (False, True, False)


def test_nothing_is_logged_where_memory_is_short(redis: redis_kit.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FULL", 0.0)
    world = World()
    world.say("a")
    world.publish()
    assert not redis.exists(str(world.key))
    monkeypatch.undo()
    world.publisher._not_before = 0.0
    world.publish()
    world.read()
    assert world.clients[0].text == "a"


def test_a_log_of_an_attempt_begins_anew(redis: redis_kit.Client) -> None:
    key = LogKey(uuid4(), uuid4())
    for place in (PartId(1, 1), PartId(1, 2), PartId(3, 1)):
        assert streams.put([(key, OutputPart(place, "[]"))]) == [True]
    assert [part.place for part in streams.read([(key, START)])[0]] == [PartId(3, 1)]
    redis.delete(str(key))
    assert streams.put([(key, OutputPart(PartId(3, 2), "[]"))]) == [False]


def test_a_first_part_is_published_at_once_and_alone(redis: redis_kit.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others have said meanwhile is gathered until the next round."""
    monkeypatch.setattr(stream_publisher, "TICK", 600.0)
    publisher = StreamPublisher()
    talking, beginning = (publisher.open(LogKey(uuid4(), uuid4()), 1, lambda: True) for _ in range(2))
    try:
        say(talking, "a")
        eventually("its first part", 20, lambda: redis.exists(str(talking.key)))
        say(talking, "b")
        say(beginning, "c")
        eventually("the first part of the other", 20, lambda: redis.exists(str(beginning.key)))
        assert (redis.xlen(str(talking.key)), redis.xlen(str(beginning.key))) == (1, 1)
    finally:
        publisher.close(talking)
        publisher.close(beginning)


def test_who_has_had_nothing_yet_is_read_for_first(redis: redis_kit.Client) -> None:
    """Before others and between them: writing what was read for many takes its time."""
    readers, read, late = OutputReaders(), list[list[str]](), LogKey(uuid4(), uuid4())
    readers._started = True  # its threads take no steps of their own
    old = [LogKey(uuid4(), uuid4()) for _ in range(2 * output_waiting.AT_A_TIME)]
    new = LogKey(uuid4(), uuid4())
    for key in old:
        readers.add(Waiter(*key), PartId(1, 1))
    for key in (new, late):
        readers.add(Waiter(*key))

    def grow(n: int, *keys: LogKey) -> None:
        streams.put([(key, OutputPart(PartId(1, each + 1), "[]")) for key in keys for each in range(n)])
        readers._on_message(" ".join(str(key.invocation_id) for key in keys))

    def hook(_server: str, what: object, _on: object, do: Callable[[], object]) -> object:
        asked = [str(args[1]) for args, _ in what if args[0] == "XRANGE"] if isinstance(what, list) else []
        if asked:
            read.append(asked)
            if len(read) == 2:
                grow(1, late)
        return do()

    grow(2, *old)
    grow(1, new)
    seam.install(hook)
    try:
        readers._read(everything=False)
    finally:
        seam.install(None)
    assert (read[0], read[2]) == ([str(new)], [str(late)])
    assert sorted(read[1] + read[3]) == sorted(map(str, old))


def test_a_log_is_read_once_for_all_who_are_at_the_same_place(redis: redis_kit.Client) -> None:
    """And not at all for those who have not taken what they were given."""
    world, read = World(), list[str]()
    world.join()
    world.join()
    world.say("a")
    world.publish()
    world.read()
    world.clients.pop()  # it takes nothing any more

    def hook(_server: str, what: object, _on: object, do: Callable[[], object]) -> object:
        if isinstance(what, list):
            read.extend(str(args[2]) for args, _ in what if args[0] == "XRANGE")
        return do()

    for text in ("b", "c", "d"):
        world.say(text)
        world.publish()
        seam.install(hook)
        try:
            world.readers._read(everything=True)
        finally:
            seam.install(None)
        assert [client.read() for client in world.clients] == [True, True]
    assert (read, [client.text for client in world.clients]) == (
        ["(1-1", "(1-2", "(1-3"],
        ["abcd", "abcd"],
    )
