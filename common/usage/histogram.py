"""Latencies in buckets: a percentile that is within 2 % of the true one, however many histograms were merged.

Bucket `b` counts latencies in (γ^(b-1), γ^b] milliseconds and stands for the value that is at most 2 % off from any of
them (Masson, Rim, Lee: DDSketch, VLDB 2019, §2.1); on top comes the rounding to whole milliseconds.
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
    """What a bucket stands for; the one below zero holds what took under a millisecond."""
    return 0 if bucket < 0 else round(2 * LATENCY_GAMMA**bucket / (LATENCY_GAMMA + 1))
