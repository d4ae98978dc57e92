"""Large responses are parsed and stored one at a time, and keep no compute slot from others."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from common.kit.pieces import SHORT_TURN_SECONDS
from tests import factories
from tests.client import eventually
from tests.factories import Customer
from worker.heartbeat import WorkerProcess
from worker.large_responses import LARGE
from worker.running import Running

PATIENCE = 30


def test_one_at_a_time_and_without_a_slot(db: None) -> None:
    me, before = WorkerProcess(), sys.getswitchinterval()
    ours, theirs = factories.customer(), factories.customer()
    tool, worker = factories.tool(), factories.worker()
    inside, done = threading.Event(), threading.Event()

    def call(customer: Customer) -> Running:
        customer.submit(tool)
        return Running(factories.taken(worker))

    def large(running: Running) -> None:
        with me.limiter.slot(), me.large_responses.turn(running, LARGE + 1):
            inside.set()
            done.wait(PATIENCE)

    with ThreadPoolExecutor(3) as pool, ExitStack() as stack:
        stack.callback(done.set)
        jobs = [pool.submit(large, call(customer)) for customer in (ours, ours, theirs)]
        assert inside.wait(PATIENCE)
        eventually("no large one holds a slot", 5, lambda: me.limiter._holders == {})
        with me.limiter.slot(), me.large_responses.turn(call(theirs), LARGE):
            pass  # what is small is not held up
        assert not any(job.done() for job in jobs)
        assert me.large_responses._turn.locked()
        assert sys.getswitchinterval() == pytest.approx(SHORT_TURN_SECONDS), (
            "others get the interpreter sooner meanwhile"
        )
        done.set()
        assert [job.exception(PATIENCE) for job in jobs] == [None] * 3
    assert sys.getswitchinterval() == before
