"""Counting for Prometheus: metrics are defined where they are counted, and added up over all processes here.

`PROMETHEUS_MULTIPROC_DIR` must be in the environment before this module is first imported; every process of one host
shares that directory, and any web process can then show them all. Without it, a process shows itself.
"""

from __future__ import annotations

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.registry import Collector

#: Upper bounds in seconds, from a cached read to a long poll.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONTENT_TYPE = CONTENT_TYPE_LATEST

_at_scrape: list[Collector] = []

__all__ = ["CONTENT_TYPE", "SECONDS", "Counter", "Gauge", "Histogram", "at_scrape", "exposition", "forget"]


def at_scrape(collector: Collector) -> None:
    """Add what is better asked than counted (a queue's depth): `collector.collect()` runs at every scrape."""
    _at_scrape.append(collector)


def exposition() -> bytes:
    """Everything counted by the processes of this host, in the Prometheus text format."""
    shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
    registry = CollectorRegistry() if shared else REGISTRY
    if shared:
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    asked = CollectorRegistry()
    for collector in _at_scrape:
        asked.register(collector)
    return generate_latest(registry) + generate_latest(asked)


def forget(pid: int) -> None:
    """Drop the gauges of a process that has ended; its counters stay in the sums."""
    multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
