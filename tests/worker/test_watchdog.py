"""A worker that is alive and does nothing is started afresh: unresponsive, stuck, frozen. With real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from common import invocations
from common.kit import db as database
from common.kit import redis as redis_kit
from common.kit.clock import uuid7
from common.operations import doctor
from common.queueing import messages, wakeups
from common.settings import Settings
from dev import platform as parts
from dev.servers import Redis
from dev.supervisor import Child, Supervisor
from tests import factories
from tests.conftest import ROOT
from tests.outside.tool import Tool
from tests.queue.proxy import Silencer
from worker import watchdog
from worker.heartbeat import WorkerProcess
from worker.watchdog import Watchdog

Start = Callable[..., tuple[Supervisor, Child]]


@pytest.fixture
def start(environ: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start a worker for invocations, with these additions to its environment."""
    running: list[Supervisor] = []

    def one(**more: str) -> tuple[Supervisor, Child]:
        supervisor = Supervisor({**environ, **more}, tmp_path, ROOT)
        running.append(supervisor)
        part = parts.worker("invocations", 4)
        celery = part.command[part.command.index("-A") :]
        supervisor.start(replace(part, command=[sys.executable, "-m", "tests.worker.impatient", *celery]))
        return supervisor, supervisor.children[part.name]

    yield one
    for supervisor in running:
        supervisor.stop()


def ended(made: object) -> bool:
    assert isinstance(made, UUID)
    return invocations.get(made, None).ended


def test_a_deaf_worker_is_started_afresh(db: None, start: Start, tool: Tool) -> None:
    """It is connected, beats and answers pings, and no longer listens to its queue."""
    customer, one = factories.customer(), factories.tool(endpoint_url=f"{tool.url}/echo")
    first = customer.submit(one)
    supervisor, worker = start()
    supervisor.wait_for(lambda: ended(first), "the first call")
    pid = worker.pid
    control = messages.app().control
    with messages.app().connection_for_write() as its:  # those of the pool may be broken since earlier tests
        supervisor.wait_for(
            lambda: bool(control.cancel_consumer("invocations", reply=True, timeout=1, connection=its)), "the answer"
        )
        assert control.ping(timeout=2, connection=its)
    second = customer.submit(one)
    supervisor.wait_for(lambda: ended(second), "the call that it did not hear of", timeout=90)
    assert worker.pid != pid


def test_a_broker_connection_that_swallows_everything(
    redis: redis_kit.Client, start: Start, tool: Tool, redis_server: Redis
) -> None:
    """The network heals, the connections from before do not: within moments work goes on without a hand."""
    customer, one = factories.customer(), factories.tool(endpoint_url=f"{tool.url}/echo")
    first = customer.submit(one)
    with Silencer(redis_server.socket) as proxy:
        supervisor, _ = start(BROKER_URL=proxy.url)
        supervisor.wait_for(lambda: ended(first), "the first call")
        supervisor.wait_for(lambda: not redis.zcard(wakeups.register("invocations")), "nobody to wait for a wake-up")
        proxy.swallow()
        second = customer.submit(one)
        time.sleep(2)  # in which it would have ended long ago
        assert not ended(second)
        proxy.heal()
        supervisor.wait_for(lambda: ended(second), "the second call", timeout=90)


def test_a_thread_that_never_comes_back(db: None, start: Start, tool: Tool, tmp_path: Path) -> None:
    """It holds a call that was given to another long ago; the process goes, the call is made again."""
    customer, one = factories.customer(), factories.tool(endpoint_url=f"{tool.url}/echo")
    (tmp_path / "worker.response_read").write_text("sleep:3600")
    supervisor, worker = start(FAILPOINTS=f"dir={tmp_path}")
    supervisor.wait_for(lambda: worker.log.exists() and "worker ready" in worker.log.read_text(), "the worker")
    pid, made = worker.pid, customer.submit(one)
    supervisor.wait_for(lambda: len(tool.calls(str(made))) == 1, "the call")
    database.rowcount(text("update queue set lease_expires_at = now()"), {})
    supervisor.wait_for(lambda: ended(made) and worker.is_up and worker.pid != pid, "its end", timeout=90)
    assert invocations.get(made, None).status == "succeeded"


def test_a_thread_that_holds_the_interpreter() -> None:
    """Nothing in the process can run any more: it ends, having said where everybody was."""
    program = """
import time
from worker import watchdog
from worker.heartbeat import me
watchdog.FROZEN_SECONDS, watchdog.CHECK_SECONDS = 3.0, 0.1
me.stopping.set()
watchdog.Watchdog(me).start()
time.sleep(1)
print("holding it", flush=True)
sum(range(10**13))
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=120, check=False)
    assert ran.returncode == 1
    assert ran.stdout == b"holding it\n"
    assert b"Timeout" in ran.stderr
    assert b'File "<string>", line' in ran.stderr


# -- the rules -----------------------------------------------------------------------------------------------------


@pytest.fixture
def sent() -> list[signal.Signals]:
    return []


@pytest.fixture
def dog(db: None, sent: list[signal.Signals], monkeypatch: pytest.MonkeyPatch) -> Watchdog:
    monkeypatch.setattr(watchdog, "UNRESPONSIVE_CHECKS", 3)
    monkeypatch.setattr(watchdog, "WARM_SECONDS", 0.0)
    me = WorkerProcess()
    me.threads = 2
    return Watchdog(me, sent.append)


def looks(dog: Watchdog, times: int = 5) -> None:
    for _ in range(times):
        dog.check()


def test_silence_is_no_deafness(dog: Watchdog, sent: list[signal.Signals]) -> None:
    looks(dog)
    assert sent == []


def test_an_idle_process_asks_the_broker_now_and_then(dog: Watchdog) -> None:
    def asked() -> int:
        return int(redis_kit.client().info("commandstats").get("cmdstat_llen", {}).get("calls", 0))

    before = asked()
    looks(dog, 2 * watchdog.CHECKS_BETWEEN)
    assert asked() - before == 2


def test_whoever_hears_or_has_no_thread_free_is_not_deaf(dog: Watchdog, sent: list[signal.Signals]) -> None:
    assert messages.notify(messages.RUN_INVOCATION)
    for _ in range(5):
        dog.check()
        dog.me.job_started()
        dog.me.job_ended()
    for _ in range(2):
        dog.me.job_started()
    looks(dog)
    assert sent == []
    dog.me.job_ended()
    looks(dog, 3)
    assert sent == [signal.SIGTERM]


def test_it_is_killed_once_nothing_would_be_lost(dog: Watchdog, sent: list[signal.Signals]) -> None:
    """The stop may hang too, but a call that must not be repeated is waited for."""
    customer, once = factories.customer(), factories.tool(idempotent=False)
    customer.submit(once)
    running = dog.me.enter(factories.taken(factories.worker()))
    assert messages.notify(messages.RUN_INVOCATION) or messages.waiting("invocations")
    looks(dog)
    assert sent == [signal.SIGTERM]
    dog.me.leave(running)
    dog.check()
    assert sent == [signal.SIGTERM, signal.SIGKILL]


def test_a_process_that_stops_anyway_is_left_alone(dog: Watchdog, sent: list[signal.Signals]) -> None:
    messages.notify(messages.RUN_INVOCATION)
    dog.me.stop_claiming()
    looks(dog)
    assert sent == []


def test_the_doctor_reports_a_queue_that_no_worker_consumes(db: None, settings: Settings) -> None:
    def consuming() -> doctor.CheckResult:
        return next(result for result in doctor.run_checks(settings) if result.name == "workers consume")

    invocations.heartbeat(uuid7(), name="invocations@here:1", progress=True, stopping=False)
    database.rowcount(text("update processes set progress_at = now() - interval '2 minutes'"), {})
    assert consuming().passed
    assert messages.notify(messages.RUN_INVOCATION)
    assert consuming().detail.startswith("No worker is consuming: invocations.")
    database.rowcount(text("delete from processes"), {})
