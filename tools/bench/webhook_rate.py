"""Deliveries a second of one worker process ÷ a bare loop of `requests.post`, to the same sink, in turn.

`python -m tools.bench.webhook_rate` (under a minute) prints one JSON line. What is delivered are events of
invocations: their bodies are made of the rows, signed, posted and written down, one by one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from time import perf_counter, sleep
from typing import Final

from common import boot, webhooks
from common.queueing import messages
from dev import platform
from tools.bench import backlog
from tools.bench.ground import Ground, prepared, python
from tools.bench.pairs import PAIRS, cpu, described, in_turn

RECEIVERS: Final = 10
EVENTS: Final = 200
BARE_THREADS: Final = 4

_FILL = """
insert into deliveries (id, event_id, user_id, endpoint_id)
select uuid7(), e.id, e.user_id, w.id from events e join webhook_endpoints w on w.user_id = e.user_id
"""


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    with prepared() as ground:
        account = ground.accounts[0]
        backlog.ours(ground, [ground.tools["quick"]], EVENTS, [account], 1)
        for n in range(RECEIVERS):
            webhooks.create(account.user_id, boot.outbound(), url=f"{ground.tool_url()}/{n}/0", events=["completed"])
        ground.start(platform.worker("webhooks", platform.WEBHOOK_THREADS))
        _ours(ground)  # connections are made, receivers are known
        spent: list[float] = []
        found = in_turn(lambda: _ours(ground, spent), lambda: _bare(ground), pairs)
    numbers = {"ours": found.ours, "bare": found.limit, "ratio": found.ratio, "worker_cpu_us": min(spent)}
    print(json.dumps({**described(**numbers), "ratios": [round(ratio, 3) for ratio in found.ratios]}))


def _ours(ground: Ground, spent: list[float] | None = None) -> float:
    """Deliveries a second, from the first message to the last answer."""
    count = RECEIVERS * EVENTS
    ground.sql("delete from deliveries")
    ground.answered(reset=True)
    with cpu(ground.pids("webhooks-1")[:1]) as worker:
        ground.sql(_FILL)
        begun = perf_counter()
        messages.notify_times(messages.DELIVER, platform.WEBHOOK_THREADS)
        while ground.answered() < count:
            sleep(0.02)
        taken = perf_counter() - begun
    while ground.sql("select 1 from deliveries where status = 'pending' limit 1"):
        sleep(0.02)  # the last ones are being stored
    if spent is not None:
        spent.append(worker.total / count * 1e6)
    return count / taken


def _bare(ground: Ground) -> float:
    command = [*python("tools.bench.limits.post"), ground.tool_url(), str(RECEIVERS * EVENTS), str(BARE_THREADS)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
