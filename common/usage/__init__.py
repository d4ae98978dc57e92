"""Usage: the history of single invocations, summaries, and the rollups that keep summaries fast.

The statement that completes an invocation inserts its usage row. This package reads and rolls up those rows. `summary`
adds the rollups and the live tail after the watermark in one snapshot, so it always equals the sum of the history
exactly. docs/decisions/rollups.md has the argument.
"""

from __future__ import annotations

from common.usage.by_key import tokens_by_key
from common.usage.charges import DayCharge, charges_by_day
from common.usage.entries import Entry, Filter, export, history
from common.usage.exporting import csv_lines, ndjson
from common.usage.figures import Figures
from common.usage.histogram import percentile
from common.usage.latencies import refresh as refresh_latencies
from common.usage.pace import Course, Pace, course, pace
from common.usage.partitions import add_months, retire_months
from common.usage.platform import Stats, Top, stats
from common.usage.rollups import adopt, catch_up, rebuild, rollup
from common.usage.single import Whose
from common.usage.totals import MOST_GROUPS, Group, Point, Rest, Stack, Summary, summary
from common.usage.verifying import RollupDifference, differences, sums

__all__ = [
    "MOST_GROUPS",
    "Course",
    "DayCharge",
    "Entry",
    "Figures",
    "Filter",
    "Group",
    "Pace",
    "Point",
    "Rest",
    "RollupDifference",
    "Stack",
    "Stats",
    "Summary",
    "Top",
    "Whose",
    "add_months",
    "adopt",
    "catch_up",
    "charges_by_day",
    "course",
    "csv_lines",
    "differences",
    "export",
    "history",
    "ndjson",
    "pace",
    "percentile",
    "rebuild",
    "refresh_latencies",
    "retire_months",
    "rollup",
    "stats",
    "summary",
    "sums",
    "tokens_by_key",
]
