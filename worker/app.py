"""The Celery application: process start-up and shutdown, heartbeat, watchdog.

Run `celery -A worker.app worker -P threads -Q invocations` (or `webhooks`, or `sweeps`): separate processes for each
queue, so that no queue delays another.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import TypedDict

from celery import bootsteps
from celery.signals import (
    celeryd_init,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from celery.worker import WorkController
from celery.worker.consumer import Consumer

from common import boot, settings
from common.kit import log, metrics
from common.queueing import messages
from worker import broker, heartbeat, sweeper, task_events
from worker.watchdog import Watchdog

config = settings.load_or_exit()
# Celery's command line reads BROKER_URL as its option `--broker` without translating the scheme; this overrides it.
os.environ["CELERY_BROKER_URL"] = messages.connection_url(config.broker_url)
# Flower reads neither `_FILE` settings nor `.env`, and without credentials it is open to everyone. A command line would
# show them to other users of the host.
os.environ["FLOWER_BASIC_AUTH"] = config.flower_basic_auth
if "flower" in sys.argv:
    from worker import flower

    flower.require_login_for_metrics()
messages.configure(config.broker_url, config.queue_messages_max)
broker.install()
app = messages.app()
app.conf.imports = ("worker.tasks",)
app.conf.update(include=["worker.tasks"], worker_consumer=f"{broker.__name__}:{broker.Consumer.__name__}")

POOL_SIZE = 16
#: How long a thread that computes may keep the interpreter from the others: theirs need it often, for moments.
SWITCH_SECONDS = 0.001
watchdog = Watchdog(heartbeat.me)
#: With quorum queues Celery declares 28 queues for delayed messages. Not needed: delays are stored in the rows.
DELAYED = "celery.worker.consumer.delayed_delivery:DelayedDelivery"
Consumer.Blueprint.default_steps = [step for step in Consumer.Blueprint.default_steps if step != DELAYED]


class StartOptions(TypedDict, total=False):
    """Options of Celery's command line that we read."""

    queues: str | Sequence[str] | None
    concurrency: int | str | None


@setup_logging.connect
def _keep_our_logging(**_: object) -> None:
    """Do nothing: with a receiver connected, Celery leaves logging to `boot.connect`."""


@celeryd_init.connect
def _configure(options: StartOptions, **_: object) -> None:
    queues = options.get("queues") or "invocations"
    heartbeat.describe(queues if isinstance(queues, str) else ",".join(queues), int(options.get("concurrency") or 1))


@worker_init.connect
def _boot(**_: object) -> None:
    boot.connect(config, process=heartbeat.me.kind, pool_size=POOL_SIZE, in_order=True)
    sweeper.configure(config)
    heartbeat.me.publisher.most = config.stream_max_bytes
    heartbeat.me.begin(f"{heartbeat.me.kind}@{os.uname().nodename}:{os.getpid()}")
    if config.metrics_port is not None:
        _serve_metrics(config.host, config.metrics_port)


def _serve_metrics(host: str, port: int) -> None:
    """Serve metrics if the port is free: a worker runs without them, and Prometheus notices the missing target."""
    try:
        metrics.serve(host, port)
    except OSError as error:
        log.get(__name__).error("metrics endpoint not started", port=port, reason=error.strerror)


@worker_ready.connect
def _ready(sender: Consumer, **_: object) -> None:
    gc.freeze()  # what was loaded stays: a large response must not have it all looked through again and again
    sys.setswitchinterval(SWITCH_SECONDS)
    task_events.events.begin(sender.hostname)
    heartbeat.me.log_start()
    watchdog.start()


@task_prerun.connect
def _job_started(**_: object) -> None:
    heartbeat.me.job_started()


@task_postrun.connect
def _job_ended(**_: object) -> None:
    heartbeat.me.job_ended()


@worker_shutting_down.connect
def _stop_claiming(**_: object) -> None:
    heartbeat.me.stop_claiming()


class StopClaiming(bootsteps.StartStopStep):  # type: ignore[misc]
    """The same for a shutdown by remote command, as Flower sends it: Celery's signal is for signals to the process."""

    def close(self, _worker: WorkController) -> None:
        """The shutdown begins: jobs are still running."""
        heartbeat.me.stop_claiming()


app.steps["worker"].add(StopClaiming)


@worker_shutdown.connect
def _shut_down(**_: object) -> None:
    watchdog.stop()
    task_events.events.flush()
    heartbeat.me.end()
    boot.disconnect()
