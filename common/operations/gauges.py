"""The platform at a glance, for Prometheus: what is better asked of the tables and Redis than counted.

Every web process answers the same, so aggregate with `max`, not with `sum`. The answer is kept for a few seconds, and
a scrape waits at most `PATIENCE` seconds for it: with PostgreSQL or Redis away it says so, and says the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import text

from common.kit import db, log, redis
from common.operations import instance
from common.queueing import messages
from common.tools import breakers

logger = log.get(__name__)

PATIENCE = 2.5
FRESH_SECONDS = 2.0
BREAKER = {"closed": 0.0, "half_open": 0.5, "open": 1.0}

_QUEUE = text("""
select count(*) filter (where token is not null) as running,
       count(*) filter (where token is null and place is not null) as ready,
       count(*) filter (where place is null) as waiting,
       coalesce(extract(epoch from now() - min(due_at) filter (where token is null and due_at <= now())), 0) as oldest,
       count(*) as holds, coalesce(sum(held), 0) as held
  from queue
""")
#: Each part has an index of its own (in the very words of its condition); most deliveries have long arrived.
_DELIVERIES = text("""
with running as (select count(*) as n from deliveries where lease_until is not null),
parked as (select count(*) as n, min(due_at) as due_at from deliveries where parked),
waiting as (
  select count(*) as n, min(due_at) as due_at from deliveries
   where status = 'pending' and lease_until is null and not parked)
select running.n as running, parked.n as parked, waiting.n as waiting,
       greatest(0, coalesce(extract(epoch from now() - least(parked.due_at, waiting.due_at)), 0)) as oldest
  from running, parked, waiting
""")
_SWEEPS = text("select name, extract(epoch from ran_at) as at from sweep_runs")
_WORKERS = text("""
select k.kind, count(*) as several, extract(epoch from max(p.progress_at)) as progress
  from processes p cross join string_to_table(split_part(p.name, '@', 1), ',') k(kind)
 where not p.stopping and p.pulse_at > now() - interval '15 seconds' group by k.kind
""")
_TOOLS = text("select id, slug from tools where archived_at is null and is_active")


class Platform(Collector):
    """Ask for it as often as you like."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="gauges")
        self._parts = {"postgresql": _Part(_from_tables), "redis": _Part(_from_redis)}

    def describe(self) -> Iterable[Metric]:
        """Nothing is asked to be registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        give_up = time.monotonic() + PATIENCE
        with self._lock:
            asked = {name: part.ask(self._threads) for name, part in self._parts.items()}
        up = _family("dependency_up", "Whether it could be asked: 1 or 0", ["dependency"])
        for name, future in asked.items():
            found = _answer(future, give_up - time.monotonic())
            up.add_metric([name], float(found is not None))
            yield from found or ()
        yield up


class _Part:
    """One server's answer: asked by one thread at a time, good for a moment."""

    def __init__(self, ask: Callable[[], list[Metric]]) -> None:
        self._ask = ask
        self._asked: Future[list[Metric]] | None = None
        self._at = 0.0

    def ask(self, threads: ThreadPoolExecutor) -> Future[list[Metric]]:
        stale = time.monotonic() - self._at > FRESH_SECONDS
        if self._asked is None or (stale and self._asked.done()):
            self._asked, self._at = threads.submit(self._ask), time.monotonic()
        return self._asked


def _answer(future: Future[list[Metric]], patience: float) -> list[Metric] | None:
    try:
        return future.result(max(0.0, patience))
    except (TimeoutError, db.Unreachable, redis.Unreachable):
        return None
    except Exception:
        logger.exception("a part of the metrics could not be asked for")  # the rest is wanted all the more
        return None


# -- what is asked ---------------------------------------------------------------------------------------------


def _from_tables() -> list[Metric]:
    """On a connection of its own: a pool that is used up is a thing to see here, not to suffer from."""
    with db.private("joyfull-gauges"):
        return [*_queue(), *_deliveries(), _sweeps(), *_workers(), _breakers()]


def _queue() -> Iterator[Metric]:
    row = db.execute(_QUEUE, {})[0]
    depth = _family("queue_invocations", "Open invocations: waiting for a place, ready, running (in flight)", ["state"])
    for state in ("waiting", "ready", "running"):
        depth.add_metric([state], getattr(row, state))
    yield depth
    yield _one("queue_oldest_due_seconds", "How long the longest due invocation has waited", row.oldest)
    yield _one("holds", "Budget holds of open invocations", row.holds)
    yield _one("held_tokens", "Tokens in these holds", row.held)


def _deliveries() -> Iterator[Metric]:
    row = db.execute(_DELIVERIES, {})[0]
    depth = _family("webhook_deliveries", "Pending deliveries: waiting, parked (receiver busy), running", ["state"])
    for state in ("waiting", "parked", "running"):
        depth.add_metric([state], getattr(row, state))
    yield depth
    yield _one("webhook_oldest_due_seconds", "How long the longest due delivery has waited", row.oldest)


def _sweeps() -> Metric:
    family = _family("sweep_last_run_timestamp_seconds", "When each periodic piece of work was last done", ["sweep"])
    for row in db.execute(_SWEEPS, {}):
        family.add_metric([row.name], float(row.at))
    return family


def _workers() -> Iterator[Metric]:
    several = _family("worker_processes", "Worker processes with a pulse", ["kind"])
    progress = _family("worker_last_progress_timestamp_seconds", "When one of a kind last ended something", ["kind"])
    found = {row.kind: row for row in db.execute(_WORKERS, {})}
    for kind in sorted({*messages.QUEUES.values(), *found}):
        several.add_metric([kind], found[kind].several if kind in found else 0)
        if kind in found:
            progress.add_metric([kind], float(found[kind].progress))
    yield several
    yield progress


def _breakers() -> Metric:
    family = _family("breaker_state", "Circuit breaker of a tool: 0 closed, 0.5 due for a try, 1 open", ["tool"])
    for row in db.execute(_TOOLS, {}):
        family.add_metric([row.slug], BREAKER[breakers.state(row.id).state])
    return family


def _from_redis() -> list[Metric]:
    with redis.reachable():
        redis.client().ping()
    family = _family("queue_messages_waiting", "Doorbells in the broker that nobody has heard yet", ["queue"])
    for queue in sorted(set(messages.QUEUES.values())):
        family.add_metric([queue], messages.waiting(queue))
    return [
        family,
        _one("shared_servers", "Redis and the broker: how many belong to another platform", instance.shared()),
    ]


def _family(name: str, help_: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"joyfull_{name}", help_, labels=labels)


def _one(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(f"joyfull_{name}", help_, value=float(value))
