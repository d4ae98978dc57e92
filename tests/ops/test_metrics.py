"""What the platform counts, read back from `/metrics` after it has really worked."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from common import invocations
from common.invocations import ClaimOptions, Completion, counting
from common.queueing import messages
from common.tools import breakers
from dev.platform import Platform
from dev.ports import free_port
from tests.client import Client, eventually
from tests.conftest import ROOT
from tests.ops.scrape import Scrape, until
from tests.outside.receiver import Receiver
from tests.outside.tool import Tool

Offer = Callable[..., str]


def test_a_call_is_counted_from_submit_to_webhook(
    client: Client, offer: Offer, hub: Platform, receiver: Receiver
) -> None:
    good, bad = offer(), offer("/fail?status=400")
    before = Scrape(hub.url)
    ids = [client.invoke(good, {"text": "four"}, webhook_url=f"{receiver.url}/hook")["id"] for _ in range(3)]
    ids.append(client.invoke(bad, {"text": "x"})["id"])
    for each in ids:
        client.ended(each)
    receiver.wait(3)

    def told(scrape: Scrape) -> bool:
        return grown(scrape, "joyfull_webhook_attempts_total", outcome="delivered") >= 3

    def grown(scrape: Scrape, name: str, **labels: str) -> float:
        return scrape.value(name, **labels) - before.value(name, **labels)

    after = until(hub.url, told, "three deliveries")
    assert after.value("joyfull_invocations_ended_total", tool=good, status="succeeded") == 3
    assert after.value("joyfull_invocations_ended_total", tool=bad, status="failed") == 1
    assert after.value("joyfull_tool_calls_total", tool=good, outcome="succeeded") == 3
    assert after.value("joyfull_tool_calls_total", tool=bad, outcome="tool_error") == 1
    assert after.value("joyfull_tool_call_seconds_count", tool=good) == 3
    assert after.value("joyfull_tokens_charged_total", tool=good) == 3 * 5
    assert after.value("joyfull_tokens_charged_total", tool=bad) == 0
    assert grown(after, "joyfull_invocation_wait_seconds_count") == 4
    assert grown(after, "joyfull_webhook_attempt_seconds_count") >= 3
    assert grown(after, "joyfull_queue_messages_total", queue="invocations", outcome="sent") >= 1
    route = {"method": "POST", "route": "/api/v1/tools/<tool>/invoke"}
    assert grown(after, "joyfull_http_requests_total", status="202", **route) == 4
    assert grown(after, "joyfull_http_request_seconds_count", **route) == 4
    assert after.value("joyfull_worker_threads", kind="invocations") == 100
    assert after.value("joyfull_db_pool_connections") >= 16 * 5
    assert after.value("joyfull_dependency_up", dependency="postgresql") == 1
    assert after.value("joyfull_dependency_up", dependency="redis") == 1


def test_open_work_holds_and_breakers_are_asked(client: Client, offer: Offer, hub: Platform, tool: Tool) -> None:
    slow, failing = offer("/hang"), offer()
    running = client.invoke(slow, {"text": "x"})["id"]

    def in_flight(scrape: Scrape) -> bool:
        """What is asked is a moment younger than what was counted: so both."""
        running = scrape.value("joyfull_queue_invocations", state="running")
        return running == scrape.value("joyfull_worker_threads_busy") == 1

    seen = until(hub.url, in_flight, "a running invocation")
    assert (seen.value("joyfull_holds"), seen.value("joyfull_held_tokens")) == (1, 50)
    assert seen.value("joyfull_worker_processes", kind="invocations") == 2
    assert seen.series("joyfull_queue_messages_waiting").keys() == {("invocations",), ("webhooks",), ("sweeps",)}
    assert seen.value("joyfull_breaker_state", tool=failing) == 0

    failing_id = UUID(client.data("GET", f"/tools/{failing}")["id"])
    for _ in range(breakers.FAIL_MAX):
        with pytest.raises(Failing), breakers.calling(failing_id, 1.0):
            raise Failing
    until(hub.url, lambda scrape: scrape.value("joyfull_breaker_state", tool=failing) == 1, "an open breaker")

    client.call("POST", f"/invocations/{running}/cancel", (200, 202))
    client.ended(running)
    idle = until(hub.url, lambda scrape: scrape.value("joyfull_holds") == 0, "no hold")
    assert idle.value("joyfull_queue_invocations") == 0
    until(hub.url, lambda scrape: scrape.value("joyfull_worker_threads_busy") == 0, "no busy thread")
    until(
        hub.url,
        lambda scrape: scrape.value("joyfull_invocations_ended_total", tool=slow, status="canceled") == 1,
        "the cancel",
    )


class Failing(Exception):
    counts_against_tool = True


def test_sweeps_say_when_they_ran(hub: Platform) -> None:
    began = time.time()
    before = Scrape(hub.url).value("joyfull_sweep_runs_total", sweep="forget-old-keys", outcome="done")
    messages.app().send_task(messages.SWEEP, args=["forget-old-keys"], queue="sweeps")
    seen = until(
        hub.url,
        lambda s: s.value("joyfull_sweep_runs_total", sweep="forget-old-keys", outcome="done") == before + 1,
        "a sweep",
    )
    assert seen.value("joyfull_sweep_runs_total", sweep="every-second", outcome="done") > 0
    seen = until(
        hub.url,
        lambda s: s.value("joyfull_sweep_last_run_timestamp_seconds", sweep="forget-old-keys") >= int(began),
        "its time",
    )
    assert seen.value("joyfull_sweep_seconds_count", sweep="forget-old-keys") >= 1


def test_labels_are_few_and_never_a_user_or_an_id(client: Client, offer: Offer, hub: Platform) -> None:
    client.ended(client.invoke(offer(), {"text": "x"})["id"])
    allowed = {"method", "route", "status", "tool", "outcome", "queue", "state", "kind", "sweep", "dependency", "le"}
    for family in Scrape(hub.url).families:
        for sample in family.samples:
            assert set(sample.labels) <= allowed, sample
            for value in sample.labels.values():
                assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}|@", value), sample


def test_the_gauges_of_a_killed_worker_do_not_count_on(client: Client, offer: Offer, hub: Platform) -> None:
    """Its counters do."""
    slug = offer()
    client.ended(client.invoke(slug, {"text": "x"})["id"])
    worker = hub.supervisor.children["invocations-1"]
    worker.kill()
    try:
        seen = until(hub.url, lambda s: s.value("joyfull_worker_threads", kind="invocations") == 50, "its threads gone")
        assert seen.value("joyfull_invocations_ended_total", tool=slug) == 1
    finally:
        worker.start()
    until(hub.url, lambda s: s.value("joyfull_worker_threads", kind="invocations") == 100, "the new one's threads")


def test_processes_that_were_killed_leave_one_file_of_each_kind(client: Client, offer: Offer, hub: Platform) -> None:
    """And what they have counted never goes back."""
    slug = offer()
    directory = Path(hub.environ["PROMETHEUS_MULTIPROC_DIR"])
    kinds = ("counter_*.db", "histogram_*.db", "gauge_*.db")
    until(hub.url, lambda s: s.value("joyfull_worker_threads", kind="invocations") == 100, "all threads")
    before, said = [len(list(directory.glob(kind))) for kind in kinds], 0.0
    for kills in range(1, 5):
        client.ended(client.invoke(slug, {"text": "x"})["id"])
        [web] = children(hub.supervisor.children["web"].pid)
        os.kill(web, signal.SIGKILL)
        eventually("another web process", 30, lambda: children(hub.supervisor.children["web"].pid) not in ([], [web]))  # noqa: B023
        worker = hub.supervisor.children["invocations-1"]
        worker.kill()
        worker.start()
        seen = until(hub.url, lambda s: s.value("joyfull_worker_threads", kind="invocations") == 100, "all threads")
        assert seen.value("joyfull_invocations_ended_total", tool=slug) == kills
        asked = seen.value("joyfull_http_requests_total", method="POST", route="/api/v1/tools/<tool>/invoke")
        assert asked > said
        said = asked
    after = [len(list(directory.glob(kind))) for kind in kinds]
    assert all(more - few <= most for more, few, most in zip(after, before, (1, 1, 0), strict=True))


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_late_result_is_counted_as_stale(client: Client, offer: Offer, hub: Platform, db: None) -> None:
    """A worker that was thought dead comes back with a result; nothing is written, and that is seen."""
    hub.supervisor.children["invocations-1"].signal(signal.SIGSTOP)
    hub.supervisor.children["invocations-2"].signal(signal.SIGSTOP)
    try:
        before = counting.REJECTED._value.get()
        submitted = client.invoke(offer(), {"text": "x"})
        task = invocations.claim(ClaimOptions(uuid4()))
        assert task is not None
        assert str(task.id) == submitted["id"]
        invocations.complete(task, Completion("succeeded", {}, 1), ClaimOptions(uuid4(), take_next=False))
        assert counting.REJECTED._value.get() == before
        invocations.complete(task, Completion("succeeded", {}, 1), ClaimOptions(uuid4(), take_next=False))
        assert counting.REJECTED._value.get() == before + 1
    finally:
        for number in (1, 2):
            hub.supervisor.children[f"invocations-{number}"].signal(signal.SIGCONT)


def test_a_worker_alone_shows_itself_on_its_own_port(environ: dict[str, str], db: None, tmp_path: Path) -> None:
    """As in a container, where no directory is shared with the web server."""
    port = free_port()
    env = {**environ, "METRICS_PORT": str(port), "HOST": "127.0.0.1"}
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-P", "threads", "-c", "3", "-Q", "sweeps"]
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        seen = until(f"http://127.0.0.1:{port}", lambda s: s.value("joyfull_worker_threads") == 3, "the worker")
        assert seen.value("joyfull_http_requests_total") == 0
    finally:
        worker.terminate()
        worker.wait(30)
