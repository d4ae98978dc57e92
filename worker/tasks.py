"""The Celery tasks. Each is a name, a queue, and one call."""

from __future__ import annotations

from common.queueing import messages
from worker import delivery, jobs, sweeper
from worker.app import app
from worker.heartbeat import me

app.conf.beat_schedule = sweeper.beat_schedule()


@app.task(name=messages.RUN_INVOCATION)
def run_invocation(invocation_id: str | None = None) -> None:  # noqa: ARG001
    """Run due invocations in fair order. `invocation_id` only says which one sent the message."""
    jobs.run(me)


@app.task(name=messages.DELIVER)
def deliver(event_id: str | None = None) -> None:  # noqa: ARG001
    """Deliver due webhooks."""
    delivery.run(stopping=me.stopping.is_set)


@app.task(name=messages.SWEEP)
def sweep(name: str) -> None:
    """Run one sweep."""
    sweeper.run_in_turn(name)


@app.task(name=messages.SEND_MAILS)
def send_mails() -> None:
    """Send pending mail."""
    sweeper.run("send-mails")
