"""Sums of usage entries, and the figures shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from common.kit.pieces import StepCounter
from common.usage.histogram import percentile

_pieces = StepCounter()
FAILURES = ("error", "timeout")


class StatusRow(NamedTuple):
    """Entries of one status in one bucket of time; their latencies as buckets and counts (or null)."""

    at: datetime
    key: str
    status: str
    invocations: Decimal
    tokens_used: Decimal
    buckets: list[int] | None
    counts: list[int] | None


class MergedRow(NamedTuple):
    """Entries of all statuses, summed by a label."""

    label: str
    invocations: Decimal
    succeeded: Decimal
    failed: Decimal
    tokens_used: Decimal
    buckets: list[int] | None
    counts: list[int] | None


class UnitRow(NamedTuple):
    """A whole hour, day or month as stored; its latencies only where entries are added to it."""

    at: datetime
    invocations: int
    succeeded: int
    failed: int
    tokens_used: int
    p50: int | None
    p95: int | None
    buckets: list[int] | None
    counts: list[int] | None


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of a set of entries. `failed`: errors and timeouts; percentiles within 2 %, None without a call."""

    invocations: int
    succeeded: int
    failed: int
    tokens_used: int
    latency_p50_ms: int | None
    latency_p95_ms: int | None


@dataclass(slots=True)
class Sum:
    """A running sum of entries. Others run between many additions."""

    invocations: int = 0
    succeeded: int = 0
    failed: int = 0
    tokens: int = 0
    latencies: Counter[int] = field(default_factory=Counter)

    def add(self, row: StatusRow) -> None:
        """Add a row of one status."""
        _pieces.step(4)
        number = int(row.invocations)
        self.invocations += number
        self.succeeded += number * (row.status == "success")
        self.failed += number * (row.status in FAILURES)
        self.tokens += int(row.tokens_used)
        self._count(row.buckets, row.counts)

    def add_all(self, row: MergedRow | UnitRow) -> None:
        """Add a row over all statuses."""
        _pieces.step(4)
        self.invocations += int(row.invocations)
        self.succeeded += int(row.succeeded)
        self.failed += int(row.failed)
        self.tokens += int(row.tokens_used)
        self._count(row.buckets, row.counts)

    def _count(self, buckets: list[int] | None, counts: list[int] | None) -> None:
        for bucket, count in zip(buckets or (), counts or (), strict=True):
            self.latencies[bucket] += int(count)

    def merge(self, other: Sum) -> None:
        """Add another sum."""
        _pieces.step(4)
        self.invocations += other.invocations
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.tokens += other.tokens
        self.latencies.update(other.latencies)

    def figures(self) -> Figures:
        """The figures of this sum."""
        _pieces.step(10)
        return Figures(
            invocations=self.invocations,
            succeeded=self.succeeded,
            failed=self.failed,
            tokens_used=self.tokens,
            latency_p50_ms=percentile(self.latencies, 0.50),
            latency_p95_ms=percentile(self.latencies, 0.95),
        )


def total_of(parts: Iterable[Sum]) -> Sum:
    """The sum of sums."""
    total = Sum()
    for part in parts:
        total.merge(part)
    return total
