"""Servers that go away under a stream: one end, one charge, and a reader has nothing that the output contradicts.

Killed workers: test_stream_kills.py. What is lost of the log in any order: test_stream_log.py.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import httpx
import pytest
from sqlalchemy import text

from common.kit import failpoints
from common.kit import redis as redis_kit
from common.settings import Settings
from dev.platform import Platform
from dev.servers import Redis
from tests import billing, factories
from tests.client import Client, eventually
from tests.ops.test_metrics import children
from tests.outside.tool import Tool
from tests.outside.tool_process import ToolProcess
from tests.plain import plain
from tests.queue.proxy import Proxy, before_postgresql
from tests.runs.conftest import Api, Json
from tests.runs.following import Follower
from tests.runs.streaming import METER, TOKENS, Stage, content, stage, words
from tests.stream_server import stream_server
from tests.timing import frozen
from worker import stream_publisher

__all__ = ["stage"]
pytestmark = pytest.mark.chaos
PRICE = {"base_tokens": 1, "per_unit": TOKENS, "max_tokens": 1_000}
METERED = {**PRICE, "metered": METER}
Offer = Callable[..., str]
CHARGES = text("select tokens_used as tokens from usage_logs where invocation_id = :id")


def charged_once(stage: Stage, made: str, whole: str) -> Json:
    """The end as the API shows it, once it is the whole answer and its charge is the one that follows from it."""
    ended: Json = stage.api.get(f"/invocations/{made}")
    assert (ended["status"], content(ended)) == ("succeeded", whole)
    due = billing.recomputed(ended)
    assert [row.tokens for row in plain(CHARGES, {"id": made})] == [ended["billing"]["charged"]] == [due]
    return ended


@pytest.fixture
def network(api: Api, settings: Settings) -> Iterator[Proxy]:
    """The proxy between this process and PostgreSQL: ask for it before `stage`, whose worker is then behind it."""
    with before_postgresql(settings) as proxy:
        yield proxy


#: Every named point of a stream, in the order in which it comes to them.
POINTS = ("stream.first_part", "stream.mid", "stream.done_unread", "stream.before_end")


@pytest.mark.parametrize("point", POINTS)
def test_postgresql_is_away_from_a_point_of_a_stream_to_its_end(network: Proxy, stage: Stage, point: str) -> None:
    """The parts were seen; the end is told once it is stored, and not before."""
    before = 0 if point == "stream.first_part" else 3
    made, follower = stage.streamed(f"words=4&hold={before}")
    follower.has(words(before))
    at_the_end = threading.Event()

    def end() -> None:
        network.cut_after(0)
        at_the_end.set()

    with (
        failpoints.calling(point, lambda: network.cut_after(0)),
        failpoints.calling("stream.before_end", end),
    ):
        stage.tool.let_go()
        assert at_the_end.wait(30)
    eventually("it is asked to store the end, in vain", 30, lambda: (network._left or 0) < 0)
    last = follower.leave()
    assert follower.end is None and words(4).startswith(follower.text)
    network.heal()
    again = Follower(stage.api, made, after=last, text=follower.text)
    assert content(again.ended()) == words(4)
    charged_once(stage, made, words(4))


def restarted(server: Redis) -> None:
    """Killed, and there again with nothing."""
    server.kill()
    server.start()
    server.wait()


@pytest.mark.parametrize("lose", [lambda _: redis_kit.client().flushall(), restarted], ids=["wiped", "killed"])
def test_redis_loses_everything_at_every_point_of_a_stream(
    stage: Stage, redis_server: Redis, monkeypatch: pytest.MonkeyPatch, lose: Callable[[Redis], object]
) -> None:
    monkeypatch.setattr(stream_publisher, "PAUSE", 0.1)
    reached, lost = SimpleQueue[str](), SimpleQueue[str]()
    seen: set[str] = set()

    def reach(point: str) -> None:
        if point not in seen:
            seen.add(point)
            reached.put(point)
            assert lost.get(timeout=30) == point

    made, follower = stage.streamed("words=9&hold=0,8&every=20")
    with ExitStack() as points:
        for point in POINTS:
            points.enter_context(failpoints.calling(point, partial(reach, point)))
        stage.tool.let_go()
        for point in POINTS:
            assert reached.get(timeout=30) == point
            lose(redis_server)  # in this thread: a server dies with the one that has started it
            lost.put(point)
            if point == "stream.mid":
                stage.tool.let_go()
        assert content(follower.ended()) == words(9)
    charged_once(stage, made, words(9))


def test_redis_is_frozen_from_the_middle_to_the_end(stage: Stage, redis_server: Redis) -> None:
    """Nothing waits for it but what is shown."""
    made, follower = stage.streamed("words=4&hold=2,3")
    follower.has(words(2))
    with frozen(redis_server.pid):
        stage.tool.let_go()
        stage.tool.let_go()
        eventually("it has ended", 30, lambda: plain(CHARGES, {"id": made}))
    assert content(follower.ended()) == words(4)
    charged_once(stage, made, words(4))


# -- logs in a Redis of their own ------------------------------------------------------------------------------------


@pytest.fixture
def own_redis(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    """The server at `STREAM_URL`, for this process."""
    with stream_server(tmp_path, monkeypatch) as server:
        yield server


def test_logs_are_kept_apart_and_nothing_depends_on_them(stage: Stage, own_redis: Redis) -> None:
    made, follower = stage.streamed("words=4&hold=2,3")
    follower.has(words(2))
    logs = redis_kit.make_client(own_redis.url())
    assert ([*redis_kit.client().scan_iter(match="out:*")], len([*logs.scan_iter(match="out:*")])) == ([], 1)
    logs.close()
    own_redis.kill()
    stage.tool.let_go()
    stage.tool.let_go()
    assert content(follower.ended()) == words(4)
    charged_once(stage, made, words(4))


# -- the tool --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Death:
    """Where the tool's process is killed, what it is asked for, and whether all of that has come by then."""

    point: str
    query: str
    whole: bool


DEATHS = [
    Death("stream.first_part", "words=3&hold=1", whole=False),
    Death("stream.mid", "words=3&hold=2&every=60", whole=False),
    Death("stream.done_unread", "words=3&every=60", whole=True),
    Death("stream.before_end", "words=3&every=60", whole=True),
]


@pytest.mark.parametrize("death", DEATHS, ids=[death.point for death in DEATHS])
def test_the_process_of_a_tool_is_killed(stage: Stage, tmp_path: Path, death: Death) -> None:
    """A reader has read some of its answer by then: it is never called again, and half an answer costs nothing."""
    readers: list[Follower] = []
    with ToolProcess(tmp_path / "calls.jsonl") as process:

        def kill() -> None:
            eventually("some of it is read", 30, lambda: [each for each in readers if each.text])
            process.kill()

        chat = {"adapter": "chat_completion", "streaming": True, "price": METERED, "max_attempts": 3}
        with failpoints.calling(death.point, kill):
            made = stage.submit(factories.tool(endpoint_url=f"{process.url}/stream?{death.query}", **chat))
            readers.append(Follower(stage.api, made))
            ended = readers[0].ended()
        called = [what for what, key in process.logged() if key == made]
    assert words(3).startswith(readers[0].text) and readers[0].text
    if death.whole:
        charged_once(stage, made, words(3))
        return
    assert (ended["error"]["code"], ended["attempts"], ended["output"]) == ("tool_bad_response", 1, None)
    assert called == ["start"]  # it did not live to say how its call ended
    assert [row.tokens for row in plain(CHARGES, {"id": made})] == [ended["billing"]["charged"]] == [0]


# -- the web process -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Response:
    """Over HTTP, as in this process."""

    response: httpx.Response

    def iter_encoded(self) -> Iterator[bytes]:
        yield from self.response.iter_raw()

    def close(self) -> None:
        self.response.close()


@dataclass(frozen=True, slots=True)
class OverHttp:
    """The API of the platform."""

    client: Client

    def call(self, method: str, path: str, /, *, headers: dict[str, str]) -> Response:
        assert method == "GET"
        return Response(self.client.opened(path, headers=headers))


@pytest.mark.parametrize("wiped", [False, True], ids=["", "and Redis is wiped"])
def test_a_web_process_is_killed_and_its_reader_goes_on_at_the_next(
    client: Client, hub: Platform, offer: Offer, tool: Tool, wiped: bool
) -> None:
    """With the id of its last event, of which the new process knows nothing; the call does not notice."""
    streams = {"adapter": "chat_completion", "streaming": True, "idle_seconds": 60, "timeout_seconds": 60}
    slug = offer("/stream?words=5&hold=2,4", input_schema={}, price=PRICE, **streams)
    made = client.invoke(slug, {}, stream=True)["id"]
    first = Follower(OverHttp(client), made)
    first.has(words(2))
    [web] = children(hub.supervisor.children["web"].pid)
    os.kill(web, signal.SIGKILL)
    eventually("the reader is cut off", 30, lambda: not first.is_reading)
    if wiped:
        redis_kit.client().flushall()
    tool.let_go()
    again = Follower(OverHttp(client), made, after=first.last_id, text=first.text)
    again.has(words(4))
    tool.let_go()
    assert content(again.ended()) == words(5)
    assert (first.end, "output.snapshot" in again.names) == (None, wiped)
    assert [entry["tokens_used"] for entry in client.data("GET", "/usage")] == [client.get(made)["billing"]["charged"]]
