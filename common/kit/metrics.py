"""Counting for Prometheus: metrics are defined where they are counted, and added up over all processes here.

`PROMETHEUS_MULTIPROC_DIR` must be in the environment before this module is first imported; every process of one host
shares that directory, and any of them can then show them all. Without it, a process shows itself. A directory is for
one process-id namespace: containers have one each.

Labels are routes, tools, states, queues: what code or an admin has named. Never a user, an id or a path.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    start_http_server,
)
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from common.kit import log, metric_files

#: Upper bounds in seconds, from a cached read to a long poll.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: The same for what may wait in a queue or take a tool's whole time limit.
LONG_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
CONTENT_TYPE = CONTENT_TYPE_LATEST
TRIES = 5

_at_scrape: list[Collector] = []
logger = log.get(__name__)

__all__ = [
    "CONTENT_TYPE",
    "LONG_SECONDS",
    "SECONDS",
    "Counter",
    "Histogram",
    "at_scrape",
    "exposition",
    "fold",
    "level",
    "serve",
]


def level(name: str, help_: str, labels: tuple[str, ...] = ()) -> Gauge:
    """A gauge that goes up and down in every process, shown as the sum over those that live."""
    return Gauge(name, help_, labels, multiprocess_mode="livesum")


def at_scrape(collector: Collector) -> None:
    """Add what is better asked than counted (a queue's depth): `collector.collect()` runs at every scrape."""
    _at_scrape.append(collector)


def exposition() -> bytes:
    """Everything counted by the processes of this host, in the Prometheus text format."""
    asked = CollectorRegistry()
    for collector in _at_scrape:
        asked.register(collector)
    return generate_latest(_counted()) + generate_latest(asked)


def serve(host: str, port: int) -> None:
    """Show the same, but for what is asked at a scrape, on a port of its own: for processes that serve no HTTP."""
    start_http_server(port, host, _counted())


def fold() -> None:
    """Make one file of those that processes left behind; their gauges go, their counters stay in the sums.

    For the start of every process, so that restarts do not fill the disk where nobody scrapes.
    """
    if directory := _directory():
        try:
            metric_files.fold(directory)
        except (OSError, ValueError, RuntimeError, struct.error) as error:
            logger.warning("metrics of ended processes not folded", reason=str(error))


class _AllProcesses(Collector):
    """What every process of this host has counted; what ended ones have left is folded first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        fold()
        for _ in range(TRIES - 1):
            with suppress(OSError, ValueError, RuntimeError, struct.error):
                return metric_files.read(self._directory, _added_up)
        return metric_files.read(self._directory, _added_up)


def _added_up() -> list[Metric]:
    """What the files say. Raises when one of them is just being made, or being removed.

    Of our own only: Flower counts into the same directory, and shows that itself.
    """
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return [family for family in registry.collect() if family.name.startswith("joyfull_")]


def _directory() -> Path | None:
    named = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(named) if named else None


def _counted() -> Collector:
    directory = _directory()
    return REGISTRY if directory is None else _AllProcesses(directory)
