"""One job of the queue `invocations`: what one message starts, and what its thread is woken for afterwards."""

from __future__ import annotations

from common.queueing import messages
from worker import runner
from worker.heartbeat import WorkerProcess
from worker.job_limit import JobLimit


def run(me: WorkerProcess) -> None:
    """Run due invocations, and wait a moment for more: until none come, or the limit of a job is reached.

    No thread waits while all others have jobs, as a message would find none. Nor while a tool uses this process's share
    for one: a wake-up reaches one thread only, and it might be for that tool.
    """
    limit = JobLimit()
    with me.limiter.slot():
        runner.work(me, limit)
    while me.idle and not me.crowded() and me.waiting.wait(me.id, me.threads, limit.seconds_left):
        with me.limiter.slot():
            if me.stopping.is_set():
                messages.notify(messages.RUN_INVOCATION)  # the wake-up was for others, then
            else:
                runner.work(me, limit)
