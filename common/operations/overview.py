"""What an operator looks at first: everything that is going on, in one answer.

A server that is down is part of the answer: what it would have said is None, and `unavailable` says why. The answer is
kept for `FRESH_SECONDS`, so that many who look cost no more than one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Final, TypeVar

from common.kit import clock, db, redis
from common.kit.cache import Cache
from common.models.ledger import LedgerVerification
from common.operations import doctor, figures, verifications
from common.operations.doctor import CheckResult
from common.operations.figures import DeliveriesDepth, ListedWorker, QueueDepth, RunningCall, SweepRecord
from common.settings import Settings
from common.settings.version import VERSION
from common.tools.breakers import BreakerState

T = TypeVar("T")
FRESH_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class WorkerAtWork:
    """A worker process, and what it is running."""

    process: ListedWorker
    running: Sequence[RunningCall]


@dataclass(frozen=True, slots=True)
class Tripped:
    """A tool whose circuit breaker is not closed."""

    tool: str
    breaker: BreakerState


@dataclass(frozen=True, slots=True)
class MissingPart:
    """A part that could not be read, and why."""

    part: str
    reason: str


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the platform at `as_of`; a part is None if it could not be read."""

    as_of: datetime
    version: str
    queue: QueueDepth | None
    workers: Sequence[WorkerAtWork] | None
    sweeps: Sequence[SweepRecord] | None
    deliveries: DeliveriesDepth | None
    breakers: Sequence[Tripped] | None
    last_verification: LedgerVerification | None
    findings: Sequence[CheckResult] | None
    unavailable: Sequence[MissingPart]


_kept: Cache[str, Overview] = Cache(1, FRESH_SECONDS)
_reading = Lock()


def read(settings: Settings) -> Overview:
    """The state of the platform, at most `FRESH_SECONDS` old. Raises nothing for a server that is down."""
    with _reading:
        found = _kept.get("overview")
        if found is None:
            with db.private("joyfull-operations"):
                found = _read(settings)
            _kept.put("overview", found)
        return found


def _read(settings: Settings) -> Overview:
    parts = _Parts()
    return Overview(
        as_of=clock.now(),
        version=VERSION,
        queue=parts.read("queue", figures.queue),
        workers=parts.read("workers", _workers),
        sweeps=parts.read("sweeps", figures.sweeps),
        deliveries=parts.read("deliveries", figures.deliveries),
        last_verification=parts.read("last_verification", verifications.last),
        breakers=parts.read("breakers", _tripped),
        findings=parts.read("findings", lambda: list(doctor.run_checks(settings))),
        unavailable=parts.missing,
    )


class _Parts:
    """Reads one part after the other. Once PostgreSQL is down it is not asked again, for each question would wait."""

    def __init__(self) -> None:
        self.missing: list[MissingPart] = []
        self._down = False

    def read(self, name: str, query: Callable[[], T]) -> T | None:
        if self._down:
            self.missing.append(MissingPart(name, "PostgreSQL is unreachable"))
            return None
        try:
            return query()
        except db.Unreachable:
            self._down = True
            self.missing.append(MissingPart(name, "PostgreSQL is unreachable"))
        except redis.RedisUnreachable:
            self.missing.append(MissingPart(name, "Redis is unreachable"))
        return None


def _workers() -> list[WorkerAtWork]:
    """Those that run something first, and silent ones last: a page shows only so many."""
    running = figures.running()
    found = [
        WorkerAtWork(process, [call for call in running if call.worker == process.id]) for process in figures.workers()
    ]
    return sorted(found, key=lambda each: (not each.running, not each.process.is_alive))


def _tripped() -> list[Tripped]:
    return [Tripped(slug, breaker) for slug, breaker in figures.breakers_of_tools() if breaker.state != "closed"]
