"""A worker in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from common.operations import ledger
from worker import runner
from worker.heartbeat import WorkerProcess


def beat(process: WorkerProcess) -> None:
    """What its heartbeat thread does once a second, and what that leaves to another but the sweep."""
    process._recover(process._heartbeat())


@contextmanager
def working() -> Iterator[WorkerProcess]:
    """It runs one invocation after the other. The books are right at the end."""
    process, over = WorkerProcess(), threading.Event()
    process.threads = 10
    process._heartbeat()

    def work() -> None:
        while not over.wait(0.01):
            runner.work(process)

    thread = threading.Thread(target=work)
    thread.start()
    yield process
    over.set()
    thread.join(60)
    assert ledger.verify().differences == ()
