"""Breakers where processes disagree for a moment: one probe for each reset time, in the whole platform."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import UUID

import pytest

from common.errors import ToolUnavailable
from common.kit import memory
from common.kit import redis as redis_kit
from common.kit.memory import Memory
from common.tools import breaker_cache, breakers
from dev.servers import Redis
from tests.client import eventually

TOOL = UUID(int=7)


class Down(Exception):
    counts_against_tool = True


@pytest.fixture(autouse=True)
def _open(redis_server: Redis) -> Iterator[None]:
    """The tool has failed five times, and the reset time is over."""
    redis_kit.connect(redis_server.url())
    redis_kit.client().flushall()
    memory.forget()
    for _ in range(breakers.FAIL_MAX):
        with pytest.raises(Down), breakers.calling(TOOL, 30):
            raise Down
    _rested()
    yield
    redis_kit.connect(redis_server.url())
    memory.forget()


def _rested() -> None:
    long_ago = time.time() - breakers.RESET_SECONDS - 1
    redis_kit.client().hset(breaker_cache.OPEN, str(TOOL), str(long_ago))
    memory.forget()


def _elsewhere_a_try_fails() -> None:
    """As another process does it: this one's view is up to a second old and knows nothing."""
    breakers.open_tools()
    here = memory.use(Memory())
    with pytest.raises(Down), breakers.calling(TOOL, 30):
        raise Down
    memory.use(here)


def tries() -> bool:
    try:
        with breakers.calling(TOOL, 30):
            return True
    except ToolUnavailable:
        return False


def test_who_does_not_know_yet_that_a_try_has_failed_does_not_try_again() -> None:
    _elsewhere_a_try_fails()
    assert not tries()
    assert breakers.open_tools() == [TOOL]
    _rested()
    assert tries()


def test_who_does_not_know_yet_that_a_try_has_succeeded_just_calls() -> None:
    breakers.open_tools()
    here = memory.use(Memory())
    assert tries()
    memory.use(here)
    assert tries()
    assert redis_kit.client().keys("breakers:probe:*") == []


def test_without_redis_one_thread_of_the_process_tries() -> None:
    breakers.open_tools()
    redis_kit.connect("redis://127.0.0.1:1/0")
    over = threading.Barrier(6, timeout=20)

    def work(_: int) -> bool:
        try:
            with breakers.calling(TOOL, 30):
                over.wait()
                return True
        except ToolUnavailable:
            over.wait()
            return False

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, range(6))) == 1
    assert breakers.state(TOOL).state == "closed"


def test_what_waits_is_left_alone_while_somebody_tries() -> None:
    """Otherwise each worker takes and gives back all that waits, again and again."""
    redis_kit.client().set(breaker_cache.probe_key(str(TOOL)), "1", ex=40)
    assert breakers.open_tools() == [TOOL]
    redis_kit.client().delete(breaker_cache.probe_key(str(TOOL)))
    memory.forget()
    assert breakers.open_tools() == []


def test_a_try_whose_process_died_frees_the_way() -> None:
    redis_kit.client().set(breaker_cache.probe_key(str(TOOL)), "1", ex=40)
    assert not tries()
    redis_kit.client().pexpire(breaker_cache.probe_key(str(TOOL)), 1)
    eventually("its expiry", 20, lambda: not redis_kit.client().exists(breaker_cache.probe_key(str(TOOL))))
    memory.forget()
    with breakers.calling(TOOL, 20.5):
        assert redis_kit.client().ttl(breaker_cache.probe_key(str(TOOL))) <= math.ceil(20.5) + 10


def test_a_probe_that_took_too_long_leaves_the_next_one_alone() -> None:
    """Its answer may have waited long to be read: what it says by then is what any call says."""
    key = breaker_cache.probe_key(str(TOOL))
    with ExitStack() as late, ExitStack() as probe:
        late.enter_context(breakers.calling(TOOL, 30))
        redis_kit.client().delete(key)  # its time is over
        here = memory.use(Memory())
        probe.enter_context(breakers.calling(TOOL, 30))
        there = memory.use(here)
        late.close()
        assert redis_kit.client().exists(key), "another call probes"
        assert redis_kit.client().hexists(breaker_cache.OPEN, str(TOOL)), "and decides"
        memory.use(there)
        probe.close()
        assert breakers.state(TOOL).state == "closed"
        assert not redis_kit.client().exists(key)
        memory.use(here)
