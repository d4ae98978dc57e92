"""Large responses are parsed and stored one at a time, and keep no compute slot from others."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import uuid4

import pytest

from common.kit.pieces import SHORT_TURN_SECONDS
from tests.client import eventually
from worker.heartbeat import LARGE, WorkerProcess

PATIENCE = 30


def test_one_at_a_time_and_without_a_slot() -> None:
    me, ours, theirs, before = WorkerProcess(), uuid4(), uuid4(), sys.getswitchinterval()
    inside, done = threading.Event(), threading.Event()

    def large(account: object) -> None:
        with me.limiter.slot(), me.large_response(ours if account == "ours" else theirs, LARGE + 1):
            inside.set()
            done.wait(PATIENCE)

    with ThreadPoolExecutor(3) as pool, ExitStack() as stack:
        stack.callback(done.set)
        jobs = [pool.submit(large, account) for account in ("ours", "ours", "theirs")]
        assert inside.wait(PATIENCE)
        eventually("no large one holds a slot", 5, lambda: me.limiter._holders == {})
        with me.limiter.slot(), me.large_response(theirs, LARGE):
            pass  # what is small is not held up
        assert not any(job.done() for job in jobs)
        assert me._large.locked()
        assert sys.getswitchinterval() == pytest.approx(SHORT_TURN_SECONDS), (
            "others get the interpreter sooner meanwhile"
        )
        done.set()
        assert [job.exception(PATIENCE) for job in jobs] == [None] * 3
    assert sys.getswitchinterval() == before
