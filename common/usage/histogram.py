"""Latency histograms: percentiles within 2 % of the true value, however many histograms were merged.

Bucket `b` counts latencies in (γ^(b-1), γ^b] milliseconds; its representative value is within 2 % of each of them
(Masson, Rim, Lee: DDSketch, VLDB 2019, §2.1), plus rounding to whole milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from common.models.usage import LATENCY_GAMMA


def percentile(counts: Mapping[int, int], share: float) -> int | None:
    """The nearest-rank percentile in milliseconds of a histogram {bucket: count}; None when it is empty."""
    rank = ceil(share * sum(counts.values()))
    for bucket in sorted(counts):
        rank -= counts[bucket]
        if rank <= 0:
            return milliseconds(bucket)
    return None


def milliseconds(bucket: int) -> int:
    """The representative value of a bucket; buckets below zero hold latencies under a millisecond."""
    return 0 if bucket < 0 else round(2 * LATENCY_GAMMA**bucket / (LATENCY_GAMMA + 1))
