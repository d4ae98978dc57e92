"""A hundred waiting clients of one web process share one subscription; each is woken by its own invocation."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from uuid import UUID

import httpx
import pytest
import requests
from httpx_sse import EventSource

from common import invocations
from common.identity import audit
from common.kit import redis as redis_kit
from common.tools import editing
from tests import factories
from tests.client import eventually
from tests.factories import GOOD
from tests.web.conftest import Service, serving
from tests.web.test_bad_inputs_product import API, Caller

WAITERS = 100
CHANNEL = "invocations"
#: A long-poll ends by itself; a stream would go on for an hour, and nobody could be told that a test has failed.
LONGEST_SECONDS = 90
Waiting = dict[UUID, Future[str]]


@pytest.fixture(scope="module")
def told(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One web process whose waiters are woken only by notifications."""
    with serving(environ, tmp_path_factory.mktemp("told"), "tests.web.told:app") as running:
        yield running


@pytest.fixture(scope="module")
def product(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One web process with the default settings."""
    with serving(environ, tmp_path_factory.mktemp("waiting"), "wsgi:app") as running:
        yield running


@pytest.fixture
def tool(db: None) -> str:
    """A tool that is never called: the tests complete its invocations."""
    price = {"base_tokens": 1, "per_unit": None, "max_tokens": 10}
    entry = {"slug": "echo", "name": "Echo", "endpoint_url": "https://203.0.113.1/", "input_schema": {}, "price": price}
    return editing.create(audit.PLATFORM, editing.Draft.of(entry)).slug


def submitted(caller: Caller, tool: str, count: int) -> list[str]:
    answer = caller("POST", "/invocations/batch", json={"items": [{"tool": tool, "input": n} for n in range(count)]})
    return [item["invocation"]["id"] for item in answer.json()["data"]]


def long_poll(url: str, headers: dict[str, str]) -> str:
    """The status in the response to the long-poll."""
    answer = requests.get(url, params={"wait": 60}, headers=headers, timeout=90)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"]["status"])


def stream(url: str, headers: dict[str, str]) -> str:
    """The last status before the stream was closed."""
    told, give_up = b"", time.monotonic() + LONGEST_SECONDS
    with requests.get(f"{url}/events", headers=headers, stream=True, timeout=90) as events:
        assert events.status_code == 200, events.text
        for line in events.iter_lines():
            told = line if line.startswith(b"data: ") else told
            assert time.monotonic() < give_up, f"nobody has ended it: {told!r}"
    return str(json.loads(told.removeprefix(b"data: "))["status"])


def all_waiting(pool: ThreadPoolExecutor, service: Service, caller: Caller, tool: str, count: int) -> Waiting:
    """Half of them long-poll, half follow a stream, each its own invocation; all are registered in Redis."""
    headers = {"Authorization": f"Bearer {caller.pair['access_token']}"}
    waiting: Waiting = {}
    for n, made in enumerate(submitted(caller, tool, count)):
        how: Callable[..., str] = stream if n % 2 else long_poll
        waiting[UUID(made)] = pool.submit(how, f"{service.base}{API}/invocations/{made}", headers)
    eventually("every waiter is announced", 60, partial(announced, waiting))
    return waiting


def announced(waiting: Waiting) -> bool:
    """Whether all of them are (others may be left of other tests). Raises what became of one that waits no more."""
    found = {key.rpartition(":")[2] for key in redis_kit.client().scan_iter(match="wait:*", count=1_000)}
    missing = {str(made) for made in waiting} - found
    for made, each in waiting.items():
        if each.done():
            raise AssertionError(f"{made} waits no more: {each.result()}; {missing=}")
    return not missing


def subscriptions() -> int:
    return dict(redis_kit.client().pubsub_numsub(CHANNEL))[CHANNEL]


def test_a_hundred_share_a_subscription_and_each_is_woken_by_its_own_end(db: None, told: Service, tool: str) -> None:
    others, caller, worker = subscriptions(), Caller(told, "pro"), factories.worker()
    with ThreadPoolExecutor(WAITERS) as pool:
        waiting = all_waiting(pool, told, caller, tool, WAITERS)
        assert subscriptions() - others == 1
        tasks = [factories.taken(worker) for _ in range(WAITERS)]
        ending, staying = tasks[: WAITERS // 2], tasks[WAITERS // 2 :]
        for task in ending:
            invocations.complete(task, GOOD, worker)
        assert {waiting[task.id].result(60) for task in ending} == {"succeeded"}
        assert not any(waiting[task.id].done() for task in staying), "a client was notified of another invocation"
        for task in staying:
            invocations.complete(task, GOOD, worker)
        assert {waiting[task.id].result(60) for task in staying} == {"succeeded"}
    assert subscriptions() - others == 1


def test_nobody_waits_longer_because_the_subscription_broke(db: None, product: Service, tool: str) -> None:
    """All rows are then re-read, and the process subscribes again."""
    caller, worker = Caller(product), factories.worker()
    with ThreadPoolExecutor(10) as pool:
        waiting = all_waiting(pool, product, caller, tool, 10)
        redis_kit.client().client_kill_filter(_type="pubsub")
        redis_kit.client().flushall()
        for task in [factories.taken(worker) for _ in waiting]:
            invocations.complete(task, GOOD, worker)
        assert {each.result(60) for each in waiting.values()} == {"succeeded"}
    eventually("it has subscribed again", 60, subscriptions)


@contextmanager
def woken_every_second(invocation_id: object) -> Iterator[None]:
    over = threading.Event()

    def wake() -> None:
        while not over.wait(1):
            redis_kit.client().publish(CHANNEL, str(invocation_id))

    waker = threading.Thread(target=wake)
    waker.start()
    try:
        yield
    finally:
        over.set()
        waker.join()


def test_a_stream_is_never_silent_for_more_than_ten_seconds(db: None, product: Service, tool: str) -> None:
    """Also if the waiter is woken all the time without a change."""
    caller = Caller(product)
    [made] = submitted(caller, tool, 1)
    headers = {"Authorization": f"Bearer {caller.pair['access_token']}"}
    with requests.get(f"{product.base}{API}/invocations/{made}/events", headers=headers, stream=True, timeout=30) as on:
        lines = on.iter_lines(chunk_size=1)
        assert next(lines).startswith(b"id: ")
        with woken_every_second(made):
            assert any(line.startswith(b":") for line in lines)


def standard(raw: bytes) -> Iterator[tuple[str, str]]:
    """The events of a stream as a browser parses them (WHATWG HTML §9.2.6): name and data."""
    name = ""
    data: list[str] = []
    for line in raw.decode().removeprefix("\ufeff").splitlines():
        field, _, value = line.partition(":")
        if not line and data:
            yield name or "message", "\n".join(data)
        if not line:
            name, data = "", []
        elif field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            data.append(value.removeprefix(" "))


def test_a_heartbeat_is_an_event_for_nobody(db: None, product: Service, tool: str) -> None:
    """Some parsers dispatch an event at every empty line once an id is set, even after a comment."""
    caller, worker = Caller(product), factories.worker()
    [made] = submitted(caller, tool, 1)
    headers = {"Authorization": f"Bearer {caller.pair['access_token']}"}
    with httpx.stream("GET", f"{product.base}{API}/invocations/{made}/events", headers=headers, timeout=30) as on:
        raw, ended = b"", False
        for piece in on.iter_bytes():
            raw += piece
            if b"\n:" in raw and not ended:
                invocations.complete(factories.taken(worker), GOOD, worker)
                ended = True
        kept = httpx.Response(200, headers=on.headers, content=raw)
    assert ended
    told = [(event.event, event.data) for event in EventSource(kept).iter_sse()]
    assert told == list(standard(raw))
    assert [name for name, _ in told if name != "invocation.running"] == ["snapshot", "invocation.succeeded"]
    assert {json.loads(data)["id"] for _, data in told} == {made}
