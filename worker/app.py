"""The Celery application: one process boots once, keeps a pulse, and listens for doorbells.

`celery -A worker.app worker -P threads -Q invocations` (or `webhooks`, or `sweeps`): separate processes for each
queue, so that none of them waits behind another.
"""

from __future__ import annotations

import os
import sys
from typing import Any

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
from celery.worker.consumer import Consumer

from common import boot, settings
from common.kit import log, metrics
from common.queueing import messages
from worker import broker, flower, heartbeat, sweeper, task_events
from worker.watchdog import Watchdog

config = settings.load_or_exit()
# Celery's command line takes BROKER_URL for its own option `--broker`, as it is spelled; ours wins.
os.environ["CELERY_BROKER_URL"] = messages.connection_url(config.broker_url)
# Flower knows nothing of files and of `.env`, and without credentials it lets everybody in. On a command line anybody
# could read them.
os.environ["FLOWER_BASIC_AUTH"] = config.flower_basic_auth
if "flower" in sys.argv:
    flower.ask_who_wants_metrics()
messages.configure(config.broker_url, config.queue_messages_max)
broker.install()
app = messages.app()
app.conf.imports = ("worker.tasks",)
app.conf.update(include=["worker.tasks"], worker_consumer=f"{broker.__name__}:{broker.Consumer.__name__}")

POOL_SIZE = 16
watchdog = Watchdog(heartbeat.me)
#: Celery prepares delayed messages (28 queues) wherever it sees quorum queues. Delays live in our rows.
DELAYED = "celery.worker.consumer.delayed_delivery:DelayedDelivery"
Consumer.Blueprint.default_steps = [step for step in Consumer.Blueprint.default_steps if step != DELAYED]


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Being connected is enough: Celery then leaves logging to `boot.connect`."""


@celeryd_init.connect
def _remember(instance: Any, conf: Any, options: dict[str, Any], **_: Any) -> None:  # noqa: ARG001
    queues = options.get("queues") or "invocations"
    heartbeat.describe(queues if isinstance(queues, str) else ",".join(queues), int(options.get("concurrency") or 1))


@worker_init.connect
def _boot(**_: Any) -> None:
    boot.connect(config, process=heartbeat.me.kind, pool_size=POOL_SIZE)
    sweeper.configure(config)
    heartbeat.me.begin(f"{heartbeat.me.kind}@{os.uname().nodename}:{os.getpid()}")
    if config.metrics_port is not None:
        _show_metrics(config.host, config.metrics_port)


def _show_metrics(host: str, port: int) -> None:
    """A taken port is no reason not to work: Prometheus sees that nobody answers."""
    try:
        metrics.serve(host, port)
    except OSError as error:
        log.get(__name__).error("metrics are not shown", port=port, reason=error.strerror)


@worker_ready.connect
def _hello(sender: Any, **_: Any) -> None:
    task_events.stage.begin(sender.hostname)
    heartbeat.me.log_start()
    watchdog.start()


@task_prerun.connect
def _heard(**_: Any) -> None:
    heartbeat.me.hear()


@task_postrun.connect
def _done(**_: Any) -> None:
    heartbeat.me.done()


@worker_shutting_down.connect
def _stop_taking(**_: Any) -> None:
    heartbeat.me.stop_taking()


@worker_shutdown.connect
def _goodbye(**_: Any) -> None:
    watchdog.stop()
    task_events.stage.flush()
    heartbeat.me.end()
    boot.disconnect()
