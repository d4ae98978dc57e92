"""What half of 100 receivers that hang do to the other half: their p99 beside them ÷ alone, in turn.

`python -m tools.bench.webhook_isolation` (about a minute) prints one JSON line. The time of a delivery is from the
event to
the receiver's 2xx in the books. One delivering process, as the platform starts it; each receiver hears two events a
second, and needs 20 ms for each; the hanging half never answers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from statistics import quantiles
from time import monotonic, sleep
from typing import Final

from common import boot, webhooks
from common.kit import db
from common.queueing import messages
from dev import platform
from dev.supervisor import Part
from tools.bench.ground import Ground, listening, prepared, python
from tools.bench.pairs import PAIRS, described, in_turn

TYPE: Final = "budget.threshold"
#: An account may have twenty endpoints.
ACCOUNTS: Final = 5
EACH: Final = 10
ROUND_SECONDS: Final = 4.0
EVENTS_PER_SECOND: Final = 2
SETTLING_SECONDS: Final = 0.5

_TIMES = """
select extract(epoch from d.finished_at - e.created_at)::float8 * 1000
  from deliveries d join events e on e.id = d.event_id join webhook_endpoints w on w.id = d.endpoint_id
 where w.url not like '%hang%' and d.status = 'delivered'
"""
_SWITCH = """
update webhook_endpoints set status = %s, disabled_reason = %s, failing_since = null where url like '%%hang%%'
"""


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    with prepared() as ground:
        receivers(ground)
        ground.start(platform.worker("webhooks", platform.WEBHOOK_THREADS))
        _round(ground, hanging=True)  # everybody is known by now
        found = in_turn(partial(_round, ground, hanging=True), partial(_round, ground, hanging=False), pairs)
    numbers = {"beside_ms": found.ours, "alone_ms": found.limit, "ratio": found.ratio}
    print(json.dumps({**described(**numbers), "ratios": [round(ratio, 3) for ratio in found.ratios]}))


def receivers(ground: Ground) -> None:
    for account in ground.accounts[:ACCOUNTS]:
        for path in ("/tool/20", "/hang"):
            for _ in range(EACH):
                webhooks.create(account.user_id, boot.outbound(), url=ground.tool_url(path), events=[TYPE])


def _round(ground: Ground, *, hanging: bool) -> float:
    """The healthy half's p99 in milliseconds. Nothing of this round is left for the next."""
    ground.sql(_SWITCH, *(("enabled", None) if hanging else ("disabled", "manual")))
    expected = ACCOUNTS * EACH * _happen(ground)
    times: list[float] = []

    def arrived() -> bool:
        times[:] = [row[0] for row in ground.sql(_TIMES)]
        return len(times) == expected

    _until(arrived, "every healthy receiver has heard everything")
    ground.sql("delete from deliveries")  # first: what hangs has nothing to be tried again for
    _hang_up(ground)
    sleep(SETTLING_SECONDS)
    return quantiles(times, n=100)[98]


def _happen(ground: Ground) -> int:
    """Events of every account at a steady pace; → how many of each."""
    count, begun = int(ROUND_SECONDS * EVENTS_PER_SECOND), monotonic()
    for n in range(count):
        for m, account in enumerate(ground.accounts[:ACCOUNTS]):
            sleep(max(0.0, begun + (n + m / ACCOUNTS) / EVENTS_PER_SECOND - monotonic()))
            with db.transaction() as session:
                webhooks.record(session, account.user_id, TYPE, {"filler": "x" * 800})
            messages.notify(messages.DELIVER)
    return count


def _hang_up(ground: Ground) -> None:
    """Those who hang end now: their process is started anew."""
    ground.stop("tool")
    ground.supervisor.start(Part("tool", [*python("tools.bench.outside"), str(ground.tool_port)]))
    ground.supervisor.wait_for(lambda: listening(ground.tool_port), "tool")


def _until(true: Callable[[], bool], what: str, within: float = 40.0) -> None:
    give_up = monotonic() + within
    while not true():
        if monotonic() > give_up:
            raise TimeoutError(f"waited {within} s until {what}")
        sleep(0.1)


if __name__ == "__main__":
    main()
