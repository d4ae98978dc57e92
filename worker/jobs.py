"""One job of the queue `invocations`: what one message starts, and what its thread is woken for afterwards."""

from __future__ import annotations

from worker import runner
from worker.heartbeat import WorkerProcess
from worker.running import JobLimit


def run(me: WorkerProcess) -> None:
    """Run due invocations, and wait a moment for more: until none come, or the limit of a job is reached.

    While a tool uses this process's share for one, no thread waits: a wake-up reaches one thread only, and it might be
    for that tool.
    """
    limit, more = JobLimit(), True
    while more:
        with me.limiter.slot():
            runner.work(me, limit)
        more = not me.crowded() and me.waiting.wait(me.id, me.threads, limit.seconds_left)
