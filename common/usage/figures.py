"""Sums and what is shown of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from common.usage.histogram import percentile

FAILURES = ("error", "timeout")


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums of some entries. `failed` counts errors and timeouts; percentiles are within 2 %, None without a call."""

    invocations: int
    succeeded: int
    failed: int
    tokens_used: int
    latency_p50_ms: int | None
    latency_p95_ms: int | None


@dataclass(slots=True)
class Sum:
    """Entries being added up."""

    invocations: int = 0
    succeeded: int = 0
    failed: int = 0
    tokens: int = 0
    latencies: Counter[int] = field(default_factory=Counter)

    def add(self, row: Row[Any]) -> None:
        """`row`: invocations and tokens_used of one status, their latencies as buckets and counts (or null)."""
        several = int(row.invocations)
        self.invocations += several
        self.succeeded += several * (row.status == "success")
        self.failed += several * (row.status in FAILURES)
        self.tokens += int(row.tokens_used)
        self._count(row)

    def add_all(self, row: Row[Any]) -> None:
        """`row`: the same of all statuses, with what succeeded and what failed."""
        self.invocations += int(row.invocations)
        self.succeeded += int(row.succeeded)
        self.failed += int(row.failed)
        self.tokens += int(row.tokens_used)
        self._count(row)

    def _count(self, row: Row[Any]) -> None:
        for bucket, count in zip(row.buckets or (), row.counts or (), strict=True):
            self.latencies[bucket] += int(count)

    def merge(self, other: Sum) -> None:
        self.invocations += other.invocations
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.tokens += other.tokens
        self.latencies.update(other.latencies)

    def figures(self) -> Figures:
        return Figures(
            invocations=self.invocations,
            succeeded=self.succeeded,
            failed=self.failed,
            tokens_used=self.tokens,
            latency_p50_ms=percentile(self.latencies, 0.50),
            latency_p95_ms=percentile(self.latencies, 0.95),
        )


def total_of(parts: Iterable[Sum]) -> Sum:
    total = Sum()
    for part in parts:
        total.merge(part)
    return total
