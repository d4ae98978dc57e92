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

#: Upper bounds in seconds, from a cached read to a long poll.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: The same for what may wait in a queue or take a tool's whole time limit.
LONG_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
CONTENT_TYPE = CONTENT_TYPE_LATEST
TRIES = 5

_at_scrape: list[Collector] = []

__all__ = [
    "CONTENT_TYPE",
    "LONG_SECONDS",
    "SECONDS",
    "Counter",
    "Histogram",
    "at_scrape",
    "exposition",
    "forget",
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


def forget(pid: int) -> None:
    """Drop the gauges of a process that has ended; its counters stay in the sums."""
    multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


class _AllProcesses(Collector):
    """What every process of this host has counted; the gauges of those that were killed are dropped first."""

    def collect(self) -> Iterable[Metric]:
        for pid in _dead():
            with suppress(FileNotFoundError):  # another process has just done so
                forget(pid)
        for _ in range(TRIES - 1):
            with suppress(OSError, ValueError, struct.error):
                return _added_up()
        return _added_up()


def _added_up() -> list[Metric]:
    """What the files say. Raises when one of them is just being made, or being removed.

    Of our own only: Flower counts into the same directory, and shows that itself.
    """
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return [family for family in registry.collect() if family.name.startswith("joyfull_")]


def _dead() -> set[int]:
    """Processes that have left live gauges behind: nobody was there to say that they ended."""
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    pids = {int(file.stem.rpartition("_")[2]) for file in directory.glob("gauge_live*.db")}
    return {pid for pid in pids if not Path(f"/proc/{pid}").exists()} if Path("/proc/self").exists() else set()


def _counted() -> Collector:
    return _AllProcesses() if "PROMETHEUS_MULTIPROC_DIR" in os.environ else REGISTRY
