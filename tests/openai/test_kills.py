"""What goes away under an official client: in the end it has one answer, which was charged once, or one error.

Whoever is cut off repeats: by itself, or as here with the count that it would send. (Web processes that die or freeze:
tests/web/test_blind_repeats.py, test_platform.py.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest

from common.operations import ledger
from common.settings import Settings
from dev.servers import Redis
from tests import factories
from tests.budgets import world
from tests.budgets.test_one_charge import SIGKILLED, Laborer, an_hour_later, laborer
from tests.client import eventually
from tests.openai.conftest import MESSAGES, Stage, charges
from tests.openai.test_streams import started, texts, until, words
from tests.outside.tool_process import ToolProcess
from tests.queue.proxy import before_postgresql
from tests.stream_server import stream_server

__all__ = ["laborer"]
pytestmark = pytest.mark.chaos
#: What the client sends when it repeats.
AGAIN = {"extra_headers": {"X-Stainless-Retry-Count": "1"}}


class Outage(NamedTuple):
    begin: Callable[[], object]
    end: Callable[[], object]


def _restarted(server: Redis) -> Outage:
    def end() -> None:
        server.start()
        server.wait()

    return Outage(server.kill, end)


@pytest.fixture
def postgresql(_connected: None, settings: Settings) -> Iterator[Outage]:
    with before_postgresql(settings) as network:
        yield Outage(lambda: network.cut_after(0), network.heal)


@pytest.fixture
def redis(redis_server: Redis) -> Outage:
    return _restarted(redis_server)


@pytest.fixture
def log(_connected: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    """The Redis at `STREAM_URL`."""
    with stream_server(tmp_path, monkeypatch) as server:
        yield _restarted(server)


@pytest.fixture
def away(request: pytest.FixtureRequest) -> Outage:
    """The server that goes away: ask for it before a `stage`, whose parts are then connected to it."""
    found: Outage = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("away", ["postgresql", "redis", "log"], indirect=True)
def test_a_server_is_away_while_a_stream_ends(away: Outage, stage: Stage) -> None:
    """What was shown is written on once it is back."""
    slug = stage.chat("/stream?words=4&hold=2")
    pieces = texts(started(stage, slug))
    until(pieces, words(2))
    away.begin()
    stage.tool.let_go()
    eventually("the tool is done", 30, lambda: stage.tool.calls()[0].ended)
    away.end()
    assert "".join(pieces) == "wörd2 wörd3 "
    again = started(stage, slug, **AGAIN)
    assert "".join(texts(again)) == words(4)
    assert again.response.headers["Idempotent-Replayed"] == "true"
    assert charges() == [15] and len(stage.tool.calls()) == 1


@pytest.mark.parametrize("away", ["postgresql", "redis"], indirect=True)
def test_a_server_is_away_while_a_client_waits(away: Outage, stage: Stage) -> None:
    """It gives up too soon, and repeats by itself until it has the answer."""
    impatient = stage.client(max_retries=9, timeout=0.5).chat.completions.with_raw_response
    slug = stage.chat("/chat/completions?after=600")
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(impatient.create, model=slug, messages=MESSAGES)
        eventually("the tool is called", 30, stage.tool.calls)
        away.begin()
        threading.Event().wait(0.7)  # in which it gives up, and repeats
        away.end()
        raw = asked.result(60)
    assert raw.retries_taken and raw.headers["Idempotent-Replayed"] == "true"
    assert raw.parse().choices[0].message.content == "a long answer"
    assert charges() == [25] and len(stage.tool.calls()) == 1


def test_the_process_of_a_tool_is_killed_under_a_stream(stage: Stage, tmp_path: Path) -> None:
    """What its client was shown is followed by an error, not by an end; a client that repeats it is told the same."""
    with ToolProcess(tmp_path / "calls.jsonl") as process:
        url = f"{process.url}/stream?words=4&hold=2"
        slug = factories.tool(endpoint_url=url, adapter="chat_completion", streaming=True).slug
        pieces = texts(started(stage, slug))
        until(pieces, words(2))
        process.kill()
        with pytest.raises(openai.APIError) as caught:
            next(pieces)
        assert _streamed(stage, slug, **AGAIN) == caught.value.code == "tool_bad_response"
    assert charges() == [0] and len(process.logged()) == 1


# -- workers -------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """Where the worker dies, and how the call ends: its status, and what it costs."""

    point: str
    stream: bool
    status: str
    charge: int


CASES = [
    Case("worker.before_send", False, "succeeded", 25),
    Case("worker.response_read", False, "succeeded", 25),
    Case("worker.before_send", True, "succeeded", 15),
    Case("stream.first_part", True, "failed", 0),
    Case("stream.done_unread", True, "failed", 0),
    Case("stream.before_end", True, "failed", 0),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.point}-{'stream' if case.stream else 'whole'}")
def test_a_worker_is_killed(front: Stage, laborer: Laborer, case: Case) -> None:
    slug = front.chat("/stream?words=4&every=30" if case.stream else "/chat/completions", idempotent=True)
    ask = _streamed if case.stream else _whole
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(ask, front, slug)
        eventually("it is accepted", 30, world.open_rows)
        assert laborer.work(case.point) == SIGKILLED
        an_hour_later()
        assert laborer.work() == 0
        told = asked.result(60)
    assert ask(front, slug, **AGAIN) == told == (_answer(case) if case.status == "succeeded" else "worker_lost")
    assert [(row.status, row.charged) for row in world.ended_rows().values()] == [(case.status, case.charge)]
    assert charges() == [case.charge] and ledger.verify().differences == ()


def _answer(case: Case) -> str:
    return words(4) if case.stream else "a long answer"


def _whole(stage: Stage, slug: str, **options: Any) -> object:
    answer = stage.client().chat.completions.create(model=slug, messages=MESSAGES, **options)
    return answer.choices[0].message.content


def _streamed(stage: Stage, slug: str, **options: Any) -> object:
    """The text; or the code of the error, after whatever came."""
    try:
        return "".join(texts(started(stage, slug, **options)))
    except openai.APIError as error:
        return error.code
