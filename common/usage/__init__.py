"""What was used: the history row by row, the same in sums, and what keeps the sums quick.

A row is written by the statement that completes an invocation (`common/invocations/completing`). Here it is read and
rolled up: `summary` adds what is rolled up to the live tail behind the watermark, in one snapshot, so that it equals
the sum of the history to the token at every moment. docs/decisions/rollups.md tells why that holds.
"""

from __future__ import annotations

from common.usage.entries import Entry, Filter, export, history
from common.usage.figures import Figures
from common.usage.histogram import percentile
from common.usage.partitions import add_months, retire_months
from common.usage.platform import Stats, Top, stats
from common.usage.rollups import Difference, adopt, catch_up, differences, rebuild, rollup, sums
from common.usage.totals import Group, Point, Summary, summary

__all__ = [
    "Difference",
    "Entry",
    "Figures",
    "Filter",
    "Group",
    "Point",
    "Stats",
    "Summary",
    "Top",
    "add_months",
    "adopt",
    "catch_up",
    "differences",
    "export",
    "history",
    "percentile",
    "rebuild",
    "retire_months",
    "rollup",
    "stats",
    "summary",
    "sums",
]
