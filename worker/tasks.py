"""The table of contents: a task is a name, a queue, and one call."""

from __future__ import annotations

from common.queueing import messages
from worker import delivery, runner, sweeper
from worker.app import app
from worker.heartbeat import me

app.conf.beat_schedule = sweeper.beat_schedule()


@app.task(name=messages.RUN_INVOCATION)
def run_invocation(invocation_id: str | None = None) -> None:  # noqa: ARG001
    """A doorbell: run whatever is due, in fair order. `invocation_id` is only who rang."""
    with me.limiter.inside():
        runner.work(me)


@app.task(name=messages.DELIVER)
def deliver(event_id: str | None = None) -> None:  # noqa: ARG001
    """A doorbell: deliver whatever webhooks are due."""
    delivery.run(stopping=me.stopping.is_set)


@app.task(name=messages.SWEEP)
def sweep(name: str) -> None:
    """One periodic piece of work."""
    sweeper.run_in_turn(name)


@app.task(name=messages.SEND_MAILS)
def send_mails() -> None:
    """A doorbell: send the mail that is owed."""
    sweeper.run("send-mails")
