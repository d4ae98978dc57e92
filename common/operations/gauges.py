"""Gauges of the whole platform for Prometheus, read from PostgreSQL and Redis at scrape time.

Every web process reports the same values, so aggregate with `max`, not `sum`. Values are cached for `FRESH_SECONDS`,
and a scrape waits at most `SCRAPE_SECONDS` for them: if a server is unavailable, `joyfull_dependency_up` reports it
and the gauges of the other server are still exported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from threading import Lock

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from common.kit import db, log, redis
from common.operations import figures, instance, verifications
from common.queueing import messages

logger = log.get(__name__)

SCRAPE_SECONDS = 2.5
FRESH_SECONDS = 2.0
#: Only where there is a replica.
REPLICA_LAG = "db_replica_behind_bytes"
BREAKER = {"closed": 0.0, "half_open": 0.5, "open": 1.0}


class Platform(Collector):
    """Collects the gauges of PostgreSQL and of Redis, each cached; cheap to scrape often. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._threads = ThreadPoolExecutor(max_workers=3, thread_name_prefix="gauges")
        self._sources = {"postgresql": _CachedSource(_from_tables), "redis": _CachedSource(_from_redis)}
        self._replica = _CachedSource(_from_replica)

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering the collector runs no query."""
        return []

    def collect(self) -> Iterator[Metric]:
        deadline = time.monotonic() + SCRAPE_SECONDS
        with self._lock:
            pending = {name: source.fetch(self._threads) for name, source in self._sources.items()}
            replica = self._replica.fetch(self._threads) if db.has_replica() else None
        up = _family("dependency_up", "Whether the server answered the last query: 1 or 0", ["dependency"])
        for name, future in pending.items():
            found = _result(name, future, deadline - time.monotonic())
            up.add_metric([name], float(found is not None))
            yield from found or ()
        yield up
        if replica is not None:  # not among the dependencies: the primary answers instead of it
            yield from _result("replica", replica, deadline - time.monotonic()) or ()


class _CachedSource:
    """One server's gauges: fetched by one thread at a time, cached for `FRESH_SECONDS`."""

    def __init__(self, query: Callable[[], list[Metric]]) -> None:
        self._query = query
        self._future: Future[list[Metric]] | None = None
        self._fetched_at = 0.0

    def fetch(self, threads: ThreadPoolExecutor) -> Future[list[Metric]]:
        stale = time.monotonic() - self._fetched_at > FRESH_SECONDS
        if self._future is None or (stale and self._future.done()):
            self._future, self._fetched_at = threads.submit(self._query), time.monotonic()
        return self._future


def _result(name: str, future: Future[list[Metric]], timeout: float) -> list[Metric] | None:
    """The gauges, or None when the server did not answer in time."""
    try:
        error = future.exception(max(0.0, timeout))
    except TimeoutError:
        return None
    if error is None:
        return future.result()
    if not isinstance(error, db.Unreachable | db.UnusableReplica | redis.RedisUnreachable):
        logger.error("gauge query failed", dependency=name, exc_info=error)  # the other gauges are still exported
    return None


# -- queries ---------------------------------------------------------------------------------------------------


def _from_tables() -> list[Metric]:
    """Query on a connection of its own, so that an exhausted pool shows in the gauges instead of blocking them."""
    with db.private("joyfull-gauges"):
        return [*_queue(), *_deliveries(), _schedules(), _sweeps(), *_workers(), _breakers(), *_verification()]


def _queue() -> Iterator[Metric]:
    row = figures.queue()
    depth = _family("queue_invocations", "Open invocations: waiting for a slot, ready, running", ["state"])
    for state, number in (("waiting", row.waiting), ("ready", row.ready), ("running", row.running)):
        depth.add_metric([state], number)
    yield depth
    yield _one("queue_oldest_due_seconds", "Age of the oldest due invocation", row.oldest)
    yield _one("holds", "Budget holds of open invocations", row.holds)
    yield _one("held_tokens", "Tokens held for open invocations", row.held)


def _deliveries() -> Iterator[Metric]:
    row = figures.deliveries()
    depth = _family(
        "webhook_deliveries", "Pending deliveries: waiting, parked (receiver at its limit), running", ["state"]
    )
    for state, number in (("waiting", row.waiting), ("parked", row.parked), ("running", row.running)):
        depth.add_metric([state], number)
    yield depth
    yield _one("webhook_oldest_due_seconds", "Age of the oldest due webhook delivery", row.oldest)


def _schedules() -> Metric:
    late = figures.oldest_due_schedule()
    return _one("schedules_oldest_due_seconds", "Age of the oldest due schedule", late)


def _sweeps() -> Metric:
    family = _family("sweep_last_run_timestamp_seconds", "When each sweep last ran", ["sweep"])
    for row in figures.sweeps():
        family.add_metric([row.name], row.ran_at.timestamp())
    return family


def _workers() -> Iterator[Metric]:
    several = _family("worker_processes", "Worker processes with a recent heartbeat", ["kind"])
    progress = _family(
        "worker_last_progress_timestamp_seconds", "When a worker of the kind last made progress", ["kind"]
    )
    found = {row.kind: row for row in figures.kinds_of_workers()}
    for kind in sorted({*messages.QUEUES.values(), *found}):
        several.add_metric([kind], found[kind].several if kind in found else 0)
        if kind in found:
            progress.add_metric([kind], found[kind].progress_at.timestamp())
    yield several
    yield progress


def _breakers() -> Metric:
    family = _family("breaker_state", "Circuit breaker of a tool: 0 closed, 0.5 half-open, 1 open", ["tool"])
    for slug, state in figures.breakers_of_tools():
        family.add_metric([slug], BREAKER[state.state])
    return family


def _verification() -> Iterator[Metric]:
    last = verifications.last()
    if last is not None:
        at = last.finished_at.timestamp()
        yield _one("ledger_verified_timestamp_seconds", "When the whole ledger was last verified", at)
        yield _one("ledger_differences", "Differences found by the last verification of the ledger", last.differences)


def _from_replica() -> list[Metric]:
    return [_one(REPLICA_LAG, "WAL that the read replica has not replayed", db.replica_state().lag)]


def _from_redis() -> list[Metric]:
    with redis.reachable():
        redis.client().ping()
    family = _family("queue_messages_waiting", "Messages waiting in the broker", ["queue"])
    for queue in sorted(set(messages.QUEUES.values())):
        family.add_metric([queue], messages.waiting(queue))
    return [
        family,
        _one("shared_servers", "Servers (Redis, broker) that belong to another platform", instance.shared()),
    ]


def _family(name: str, help_: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"joyfull_{name}", help_, labels=labels)


def _one(name: str, help_: str, value: float | Decimal) -> Metric:
    return GaugeMetricFamily(f"joyfull_{name}", help_, value=float(value))
