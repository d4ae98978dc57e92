"""One account has 10,000 calls queued. How long does another wait for its own, and how long alone?

`python -m tools.bench.fairness` takes about three minutes. All threads are busy with the flood; both accounts use the
same tool
(then a second round with tools of their own). What is measured is what a client waits for: from the row's being
accepted to its end, by the database's clock, tool included. Alone and beside in turn, on one platform.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from statistics import median, quantiles

from common import budgets
from tools.bench import backlog, ground, load, pairs
from tools.bench.ground import Account, Ground

FLOOD = 10_000
PROCESSES, THREADS = 2, 4
RATE, SECONDS = 12.0, 6.0
TOOL_MS = 100

_WAITS = """
select extract(epoch from finished_at - created_at), extract(epoch from started_at - created_at) from invocations
 where user_id = %s and created_at > %s and status = 'succeeded'
"""
OPEN = "select count(*) from queue where user_id = %s"
_DRAIN = """
set session_replication_role = replica;
with gone as (delete from queue where user_id = '{user}' returning id)
delete from invocations where id in (select id from gone);
"""


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds to the end, and of them those before the start."""

    p50: float
    p99: float
    start_p99: float


def main() -> int:
    with ground.prepared() as here:
        ground_tools(here)
        here.start(here.web(), *here.workers(PROCESSES, THREADS))
        found = {name: compare(here, name) for name in ("same tool", "other tool")}
    print(json.dumps(found, indent=2))
    return 0


def ground_tools(here: Ground) -> None:
    here.tools |= {name: ground.tool(here, name, f"/tool/{TOOL_MS}") for name in ("mine", "yours")}


def compare(here: Ground, which: str) -> dict[str, object]:
    """Alone and beside the flood, in turn."""
    mine = "mine" if which == "other tool" else "yours"
    quiet: list[Waits] = []
    beside: list[Waits] = []
    for n in range(pairs.PAIRS):
        for flooded in ((False, True), (True, False))[n % 2]:
            (beside if flooded else quiet).append(measure(here, mine, flooded=flooded))
    return {
        "p99 ratio": round(median(b.p99 / a.p99 for a, b in zip(quiet, beside, strict=True)), 2),
        "p50 ratio": round(median(b.p50 / a.p50 for a, b in zip(quiet, beside, strict=True)), 2),
        "alone p99 ms": [round(1000 * each.p99, 1) for each in quiet],
        "beside p99 ms": [round(1000 * each.p99, 1) for each in beside],
        "before the start, beside, p99 ms": [round(1000 * each.start_p99, 1) for each in beside],
    }


def measure(here: Ground, tool: str, *, flooded: bool) -> Waits:
    other, flooding = here.accounts[0], here.accounts[1]
    if flooded:
        backlog.ours(here, [here.tools["yours"]], FLOOD, [flooding], ground.AT_ONCE)
        here.supervisor.wait_for(lambda: here.sql(OPEN, flooding.user_id)[0][0] < FLOOD - 50, "the flood")
    began = here.sql("select now()")[0][0]
    load.steady(here.settings.port, [here.submits(tool)[0]], rate=RATE, seconds=SECONDS)
    here.supervisor.wait_for(lambda: here.sql(OPEN, other.user_id)[0][0] == 0, "the other account's calls")
    if flooded:
        assert here.sql(OPEN, flooding.user_id)[0][0] > FLOOD // 2, "the flood was over too soon"
        drain(here, flooding)
    rows = here.sql(_WAITS, other.user_id, began)
    ends, starts = [float(row[0]) for row in rows], [float(row[1]) for row in rows]
    return Waits(median(ends), quantiles(ends, n=100)[98], quantiles(starts, n=100)[98])


def drain(here: Ground, account: Account) -> None:
    """Away with the rest of the flood, as if it had never been."""
    here.sql(_DRAIN.format(user=account.user_id))
    here.supervisor.wait_for(lambda: here.sql(OPEN, account.user_id)[0][0] == 0, "the flood to be gone")
    budgets.rebuild(account.user_id, account.period_id)


if __name__ == "__main__":
    sys.exit(main())
