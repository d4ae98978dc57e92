"""Prometheus metrics: defined where they are counted, and aggregated over all processes of the host here.

`PROMETHEUS_MULTIPROC_DIR` must be set before this module is first imported. All processes of one host share that
directory, and each of them can export the metrics of all. Without it, a process exports its own only. A directory
belongs to one pid namespace: each container needs its own.

Labels are routes, tools, states, queues: values defined by code or an admin, never users, ids or paths.
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

#: Histogram buckets in seconds, from a cached read to a long poll.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: Histogram buckets in seconds for queueing times and for tools, which may take up to their time limit.
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
    "live_gauge",
    "serve",
]


def live_gauge(name: str, help_: str, labels: tuple[str, ...] = ()) -> Gauge:
    """A gauge set by each process, exported as the sum over the live ones."""
    return Gauge(name, help_, labels, multiprocess_mode="livesum")


def at_scrape(collector: Collector) -> None:
    """Register a collector that computes values at scrape time, such as the depth of a queue."""
    _at_scrape.append(collector)


def exposition() -> bytes:
    """The metrics of all processes of this host and of the scrape-time collectors, in the Prometheus text format."""
    computed = CollectorRegistry()
    for collector in _at_scrape:
        computed.register(collector)
    return generate_latest(_counted()) + generate_latest(computed)


def serve(host: str, port: int) -> None:
    """Export the counted metrics on a port of its own, for processes without HTTP; no scrape-time collectors."""
    start_http_server(port, host, _counted())


def fold() -> None:
    """Fold the files of ended processes into one: their counters are kept, their gauges dropped.

    Called at the start of every process, so that restarts do not fill the disk on hosts that are never scraped.
    """
    if directory := _directory():
        try:
            metric_files.fold(directory)
        except (OSError, ValueError, RuntimeError, struct.error) as error:
            logger.warning("folding metric files failed", reason=str(error))


class _AllProcesses(Collector):
    """The metrics of all processes of this host; folds those of ended processes first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """The metrics of all processes together (the interface of `prometheus_client` collectors)."""
        fold()
        for _ in range(TRIES - 1):
            with suppress(OSError, ValueError, RuntimeError, struct.error):
                return metric_files.read(self._directory, _aggregated)
        return metric_files.read(self._directory, _aggregated)


def _aggregated() -> list[Metric]:
    """Aggregate the files. Raises when one of them is being created or removed at that moment.

    Our own metrics only: Flower writes to the same directory and exports its metrics itself.
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
