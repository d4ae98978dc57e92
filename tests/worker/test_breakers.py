"""One breaker per tool for the whole platform, on a real Redis; other processes are really other processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest

from common.errors import ToolUnavailable
from common.kit import failpoints, memory
from common.kit import redis as redis_kit
from common.kit.outbound import Aborted
from common.tools import breaker_cache, breakers
from common.tools.adapters import ToolFailure
from dev.servers import Redis

ROOT = Path(__file__).resolve().parents[2]
TOOL, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture(autouse=True)
def _fresh(redis_server: Redis) -> Iterator[None]:
    redis_kit.connect(redis_server.url())
    redis_kit.client().flushall()
    memory.forget()
    yield
    redis_kit.connect(redis_server.url())
    memory.forget()


def down() -> ToolFailure:
    return ToolFailure("tool_failed", "The tool answered 500.", sent=True, http_status=500, counts_against_tool=True)


def refusal() -> ToolFailure:
    return ToolFailure("tool_error", "The tool answered 400.", sent=True, http_status=400)


def call(error: Exception | None = None, tool: UUID = TOOL) -> None:
    with breakers.calling(tool, 30):
        if error is not None:
            raise error


def fail(times: int, tool: UUID = TOOL) -> None:
    for _ in range(times):
        with pytest.raises(ToolFailure):
            call(down(), tool)


def reset_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakers, "RESET_SECONDS", 0.0)


def test_failures_in_a_row_open_it_for_this_tool_alone() -> None:
    fail(breakers.FAIL_MAX)
    with pytest.raises(ToolUnavailable) as refused:
        call()
    assert 1 <= refused.value.retry_after <= breakers.RESET_SECONDS
    assert breakers.open_tools() == [TOOL]
    assert breakers.retry_after(TOOL) > 0 == breakers.retry_after(OTHER)
    assert breakers.state(TOOL).state == "open"
    call(tool=OTHER)


def test_what_somebody_else_has_written_there_hides_no_breaker() -> None:
    """The sweep of every second asks for the open ones first."""
    fail(breakers.FAIL_MAX)
    for key, field in ((breaker_cache.OPEN, "nobody"), (breaker_cache.FAILURES, str(OTHER))):
        redis_kit.client().hset(key, field, "?")
    memory.forget()  # as another process
    assert breakers.open_tools() == [TOOL]


def test_failures_of_all_processes_count_together() -> None:
    fail(breakers.FAIL_MAX - 2)
    memory.forget()  # as another process
    fail(2)
    assert breakers.open_tools() == [TOOL]


@pytest.mark.parametrize("answer", [None, refusal()])
def test_an_answer_between_failures_starts_the_count_anew(answer: Exception | None) -> None:
    """A client's mistake is an answer too: the tool is there."""
    fail(breakers.FAIL_MAX - 1)
    if answer is None:
        call()
    else:
        with pytest.raises(ToolFailure):
            call(answer)
    fail(breakers.FAIL_MAX - 1)
    assert breakers.open_tools() == []


@pytest.mark.parametrize("error", [Aborted(), RuntimeError("database away")])
def test_what_says_nothing_about_the_tool_changes_nothing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(breakers.FAIL_MAX - 1)
    with pytest.raises(type(error)):
        call(error)
    fail(1)
    assert breakers.open_tools() == [TOOL]
    reset_time_is_over(monkeypatch)
    with pytest.raises(type(error)):
        call(error)
    assert breakers.state(TOOL).state == "half_open"
    call()  # the next one may try at once
    assert breakers.state(TOOL).state == "closed"


def test_a_good_try_closes_it_and_a_bad_one_opens_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fail(breakers.FAIL_MAX)
    opened = breakers.state(TOOL).opened_at
    reset_time_is_over(monkeypatch)
    fail(1)
    again = breakers.state(TOOL).opened_at
    assert opened is not None and again is not None and again > opened
    call()
    assert breakers.state(TOOL) == breakers.BreakerState("closed", 0, None, None)
    fail(breakers.FAIL_MAX - 1)
    assert breakers.open_tools() == []


def test_calls_run_side_by_side() -> None:
    together = threading.Barrier(4, timeout=20)

    def work(_: int) -> int:
        with breakers.calling(TOOL, 30):
            return together.wait()

    with ThreadPoolExecutor(4) as pool:
        assert {*pool.map(work, range(4))} == {0, 1, 2, 3}


def test_one_thread_of_many_may_try(monkeypatch: pytest.MonkeyPatch) -> None:
    fail(breakers.FAIL_MAX)
    reset_time_is_over(monkeypatch)
    over = threading.Barrier(8, timeout=20)

    def work(_: int) -> bool:
        try:
            with breakers.calling(TOOL, 30):
                over.wait()
                return True
        except ToolUnavailable:
            # What else waits for this tool is not worth taking meanwhile.
            assert breakers.open_tools() == [TOOL]
            over.wait()
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 1
    assert breakers.state(TOOL).state == "closed"


def test_opened_elsewhere_between_asking_and_calling() -> None:
    """Whoever was not given the trial call does not take it: that the call succeeds does not close the breaker."""

    def opened_meanwhile() -> None:
        breakers._view().opened[str(TOOL)] = 0.0

    with failpoints.calling("breaker.after_look", opened_meanwhile):
        call()
    assert str(TOOL) in breakers._view().opened


def test_a_late_failure_of_a_call_from_before_does_not_free_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it begin the rest anew: it was sent before the breaker opened."""
    with pytest.raises(ToolFailure), breakers.calling(TOOL, 30):
        fail(breakers.FAIL_MAX)
        opened = breakers.state(TOOL).opened_at
        reset_time_is_over(monkeypatch)
        redis_kit.client().set(breaker_cache.probe_key(str(TOOL)), "1", ex=40)
        raise down()
    assert breakers.state(TOOL).opened_at == opened
    assert redis_kit.client().exists(breaker_cache.probe_key(str(TOOL)))


CHILD = """
import sys
from uuid import UUID
from common.tools import breakers
from common.errors import ToolUnavailable
from common.kit import redis
redis.connect(sys.argv[1])
breakers.RESET_SECONDS = float(sys.argv[2])
try:
    with breakers.calling(UUID(int=1), 30):
        print("in", flush=True)
        sys.stdin.read(1)
except ToolUnavailable:
    print("out", flush=True)
"""


def _child(url: str, reset_seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, url, str(reset_seconds)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_it_is_shared_by_processes_and_one_of_them_may_try(redis_server: Redis) -> None:
    fail(breakers.FAIL_MAX)
    refused_child = _child(redis_server.url(), 30)
    assert refused_child.communicate("x", timeout=30)[0] == "out\n"
    children = [_child(redis_server.url(), 0) for _ in range(4)]
    said = [child.stdout.readline().strip() for child in children if child.stdout is not None]
    for child in children:
        child.communicate("x", timeout=30)
    assert sorted(said) == ["in", "out", "out", "out"]
    memory.forget()
    assert breakers.state(TOOL).state == "closed"


def test_a_reset_by_an_admin_is_seen_elsewhere() -> None:
    fail(breakers.FAIL_MAX)
    breakers.close(TOOL)
    memory.forget()  # as another process
    call()
    assert breakers.state(TOOL).state == "closed"


def test_without_redis_each_process_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    redis_kit.connect("redis://127.0.0.1:1/0")
    fail(breakers.FAIL_MAX)
    with pytest.raises(ToolUnavailable):
        call()
    reset_time_is_over(monkeypatch)
    call()
    assert breakers.state(TOOL).state == "closed"
