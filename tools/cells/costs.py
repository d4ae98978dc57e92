"""The inputs: what one invocation costs, as far as it was measured, and what is assumed.

Measured figures are read from `tools/bench/results.json`, whose notes have the CPU of single processes. Those that only
the prose of `docs/performance.md` has are repeated here with the place where they stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dev.platform import ROOT

RESULTS: Final = ROOT / "tools" / "bench" / "results.json"
#: What one of each unit is in seconds, bytes or pieces.
UNITS: Final = {"ms": 1e-3, "kB": 1e3, "MB/s": 1e6, "": 1.0, "/s": 1.0}


@dataclass(frozen=True, slots=True)
class Costs:
    """What the model calculates with. Seconds of CPU for an invocation, where nothing else is said."""

    web_submit: float
    web_result: float
    web_read: float
    worker: float
    postgres_submit: float
    postgres_end: float
    postgres_result: float
    postgres_read: float
    plan_submit: float  # this and the next two: added at PostgreSQL where no statement is prepared
    plan_end: float
    plan_result: float
    gate_hold: float
    gate_settle: float
    gate_announced: float  # at each other node of a cluster
    broker: float
    row: float  # how long a submit keeps others of its account from the period's row
    wal_submit: float  # bytes
    wal_end: float  # bytes
    wal_flush: float  # seconds for each flush, besides its bytes
    wal_rate: float  # bytes a second
    reads: float  # of lists and usage, for each invocation: a number
    machine_cores: float
    postgres_cores: float
    connections: float  # all that PostgreSQL accepts
    connections_raised: float
    process_connections: float
    filled: float  # how much of its processes' time a load may take before there are more
    cell_rate: float  # invocations a second that a cell is made for
    account_rate: float  # invocations a second above which an account is split
    accounts: float
    skew: float  # the share of the account of rank n is in proportion to 1 / n^skew


@dataclass(frozen=True, slots=True)
class Input:
    """One input as it is shown. `value` in `unit`; with `pattern`, what this finds in the note of the goal `source`."""

    field: str
    name: str
    value: float
    unit: str
    source: str
    pattern: str = ""


_P5: Final = "measured: performance.md, P5"
_SPLIT: Final = "assumed, of the 2.0 ms in the table above"
_BELOW: Final = "measured: see below"
_REDIS: Final = "assumed, of the 0.3 ms in the table above"
INPUTS: Final = (
    Input("web_submit", "web: a submit", 0, "ms", "P1", r"([\d.]+) ms a submit"),
    Input("web_result", "web: the wait and the result", 1.1, "ms", f"{_P5} (2.3) less P1"),
    Input("web_read", "web: any other read", 0, "ms", "P6", r"([\d.]+) ms a read"),
    Input("worker", "workers: a call with its message", 2.7, "ms", f"{_P5}; from a backlog 1.24"),
    Input("postgres_submit", "PostgreSQL: the submit", 0.5, "ms", _SPLIT),
    Input("postgres_end", "PostgreSQL: the claim and the end", 1.1, "ms", _SPLIT),
    Input("postgres_result", "PostgreSQL: the reads of the result", 0.4, "ms", _SPLIT),
    Input("postgres_read", "PostgreSQL: any other read", 1.0, "ms", "assumed; P8 has 1 to 3 ms until the answer"),
    Input("plan_submit", "PostgreSQL: more for a submit that is not prepared", 0.8, "ms", _BELOW),
    Input("plan_end", "PostgreSQL: the same, the claim and the end", 3.9, "ms", _BELOW),
    Input("plan_result", "PostgreSQL: the same, the reads of the result", 1.2, "ms", _BELOW),
    Input("gate_hold", "Redis: authorization and hold", 0.12, "ms", _REDIS),
    Input("gate_settle", "Redis: settle", 0.08, "ms", _REDIS),
    Input("broker", "Redis: the queue message", 0.1, "ms", _REDIS),
    Input("gate_announced", "each other node of a cluster: a completion that is announced", 0.02, "ms", "assumed"),
    Input("row", "the lock of an account's period, a submit", 0.1, "ms", "at most: measured up to 10,000/s"),
    Input("wal_submit", "WAL of a submit", 1.86, "kB", _BELOW),
    Input("wal_end", "WAL of an end", 3.48, "kB", "measured: performance.md, Optimizations"),
    Input("wal_flush", "a flush of the WAL, besides its bytes", 0.5, "ms", "assumed"),
    Input("wal_rate", "what the WAL's disk writes", 500, "MB/s", "assumed"),
    Input("reads", "other reads (lists, usage) for each invocation", 0.5, "", "assumed"),
    Input("machine_cores", "cores of one machine", 16, "", "assumed; one of them is Redis's"),
    Input("postgres_cores", "cores that one primary can use", 20, "", "assumed"),
    Input("connections", "connections that PostgreSQL accepts", 400, "", "`ops/kubernetes/servers/postgres.yaml`"),
    Input("connections_raised", "the same, raised", 2_000, "", "assumed"),
    Input("process_connections", "connections of a process", 16, "", "the setting"),
    Input("filled", "load of processes, replicas and gate nodes at which more are started", 0.6, "", "assumed"),
    Input("cell_rate", "invocations a second for which a cell is made", 5_000, "/s", "assumed"),
    Input("account_rate", "invocations a second above which an account is split", 2_000, "/s", "assumed"),
    Input("accounts", "accounts", 10_000, "", "assumed"),
    Input("skew", "exponent of their Zipf distribution", 1.0, "", "assumed"),
)  # fmt: skip


def read() -> tuple[Costs, Sequence[Input]]:
    """The costs, and the inputs they come from with all values filled in.

    Raises:
        LookupError: a goal is not among the results, or its note has not the figure any more.
    """
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    inputs = [measured(each, results) if each.pattern else each for each in INPUTS]
    return Costs(**{each.field: each.value * UNITS[each.unit] for each in inputs}), inputs


def measured(one: Input, results: Mapping[str, Mapping[str, Any]]) -> Input:
    """Any: what `tools.bench` wrote."""
    found = re.search(one.pattern, results[one.source]["note"])
    if found is None:
        raise LookupError(f"the note of {one.source} in {RESULTS.name} has not {one.pattern!r}")
    return Input(one.field, one.name, float(found[1]), one.unit, f"measured: bench {one.source}")
