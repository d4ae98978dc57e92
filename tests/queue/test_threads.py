"""Many workers over several accounts, wiped and killed meanwhile: nothing left over, nothing twice, no cap exceeded.

`THREADS_SECONDS=60 pytest tests/queue/test_threads.py` runs it for longer.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import text

from common import budgets, invocations
from common.errors import AlreadyFinished, BudgetExhausted, DependencyUnavailable
from common.invocations import ClaimOptions, Task, admitting, placing, sweeping
from common.kit import redis as redis_kit
from common.operations import ledger
from common.tools import ListedTool
from tests import factories
from tests.budgets import world
from tests.factories import BAD, GOOD, Customer
from tests.plain import plain

SECONDS = float(os.environ.get("THREADS_SECONDS", "6"))
WORKERS = 8
CAPS = (1, 2, 5, None)

_DEADLOCKS = text("select deadlocks from pg_stat_database where datname = current_database()")
_OPEN = text("select q.*, now(), p.epoch, p.user_id from queue q join periods p on p.id = q.period_id")
_BUSY = text("""
select q.period_id, count(q.slot) as placed, pl.max_concurrency as cap
  from queue q join periods p on p.id = q.period_id join plans pl on pl.id = p.plan_id group by 1, 3
""")


@dataclass(slots=True)
class Chaos:
    """What runs, and what happened."""

    customers: list[Customer]
    tools: list[ListedTool]
    stop: threading.Event = field(default_factory=threading.Event)
    drain: threading.Event = field(default_factory=threading.Event)
    counts: Counter[str] = field(default_factory=Counter)
    exceeded: list[str] = field(default_factory=list)

    def submit(self, seed: int) -> None:
        rng = random.Random(seed)
        while not self.stop.is_set():
            customer = rng.choice(self.customers)
            try:
                made = customer.submit(rng.choice(self.tools))
                self.counts["submitted"] += 1
                if rng.random() < 0.1:
                    time.sleep(rng.random() / 50)
                    invocations.cancel(customer.caller, made)
                    self.counts["canceled"] += 1
            except (DependencyUnavailable, BudgetExhausted, AlreadyFinished) as refusal:
                self.counts[refusal.code] += 1

    def work(self, seed: int) -> None:
        """A worker process with one thread: every now and then it is killed, and another takes its stead."""
        rng = random.Random(seed)
        me, tasks = self._worker(), list[Task]()
        while not self.drain.is_set():
            tasks = tasks or invocations.claim_several(me)
            if not tasks:
                time.sleep(0.002)
            elif rng.random() < 0.01 and not self.stop.is_set():
                invocations.leave(me.worker)  # and what it held is left as it is
                self.counts["killed"] += 1
                me, tasks = self._worker(), []
            elif len(tasks) == 1:
                tasks = self._turn(rng, me, tasks[0])
            else:
                tasks = self._turn_of_several(rng, me, tasks)

    def _worker(self) -> ClaimOptions:
        return replace(factories.worker(), most=3, quick=(self.tools[0].current.id,))

    def _turn_of_several(self, rng: random.Random, me: ClaimOptions, tasks: list[Task]) -> list[Task]:
        if rng.random() < 0.1:
            self.counts["given back"] += len(tasks)
            invocations.give_back(*tasks)
            return []
        self.counts["ended together"] += len(tasks)
        ends = [(task, replace(GOOD, cost=rng.randrange(20)) if rng.random() < 0.9 else BAD) for task in tasks]
        return invocations.complete_together(ends, replace(me, take_next=rng.random() < 0.8))

    def _turn(self, rng: random.Random, me: ClaimOptions, task: Task) -> list[Task]:
        mine = replace(me, take_next=rng.random() < 0.8)
        luck = rng.random()
        if luck < 0.15 and not self.stop.is_set():
            self.counts["retried"] += 1
            return invocations.retry_and_claim(task, BAD, rng.choice([0.0, 0.05, 1.0]), mine)
        if luck < 0.2:
            self.counts["given back"] += 1
            invocations.give_back(task)
            return []
        self.counts["ended"] += 1
        end = replace(GOOD, cost=rng.randrange(20)) if luck < 0.9 else BAD
        return invocations.complete_and_claim(task, end, mine)

    def sweep(self) -> None:
        """Two sweepers at once, with nothing to keep them apart."""
        while not self.drain.is_set():
            sweeping.reap_dead_processes()
            sweeping.admit_waiting([])
            sweeping.place_waiting([])
            sweeping.raise_start_tags()
            sweeping.expire()
            time.sleep(0.02)

    def wipe(self) -> None:
        while not self.stop.wait(0.3):
            redis_kit.client().flushall()
            self.counts["wiped"] += 1

    def watch(self) -> None:
        while not self.drain.is_set():
            for row in plain(_BUSY, {}):
                if row.cap is not None and row.placed > row.cap:
                    self.exceeded.append(f"{row.placed} of {row.cap}")
            self.exceeded += [f"{placed} of {most} of a key" for placed, most in world.busy_keys() if placed > most]
            time.sleep(0.01)


def _left() -> list[object]:
    """What is open, and what the gates know of it."""
    if not (rows := plain(_OPEN, {})):
        return []
    gate = redis_kit.client()
    hashes = [key for key in gate.keys("*") if gate.type(key) == "hash"]
    return [*(dict(row._mapping) for row in rows), *((key, gate.hgetall(key)) for key in hashes)]


def _deadlocks() -> int:
    return int(plain(_DEADLOCKS, {})[0][0])


@pytest.mark.parametrize("wiping", [False, True])
def test_nothing_left_over_and_nothing_twice(db: None, monkeypatch: pytest.MonkeyPatch, wiping: bool) -> None:
    monkeypatch.setattr(placing, "BEHIND", 0.0)
    monkeypatch.setattr(admitting, "BEHIND", 0.0)
    accounts = [factories.customer(at_once=cap) for cap in CAPS]
    keyed = [factories.keyed(each, 10**9, at_once=most) for each in accounts[2:] for most in (1, 3)]
    chaos = Chaos(accounts + keyed, [factories.tool(), factories.tool(idempotent=False)])
    before = _deadlocks()
    with ThreadPoolExecutor(WORKERS + 8) as pool:
        running = [pool.submit(chaos.work, seed) for seed in range(WORKERS)]
        running += [pool.submit(chaos.submit, seed) for seed in range(3)]
        running += [pool.submit(chaos.sweep) for _ in range(2)] + [pool.submit(chaos.watch)]
        running += [pool.submit(chaos.wipe)] if wiping else []
        time.sleep(SECONDS)  # of chaos
        chaos.stop.set()
        deadline = time.monotonic() + 60
        while world.open_rows() and time.monotonic() < deadline:
            time.sleep(0.05)
        left = _left()
        chaos.drain.set()
        for each in running:
            each.result(30)
    print(dict(chaos.counts), chaos.exceeded[:10])
    assert not left, (left, dict(chaos.counts))
    assert chaos.counts["ended together"] > 0
    assert _deadlocks() == before
    assert chaos.exceeded == []
    _put_right(wiping)
    assert ledger.verify().differences == ()
    for customer in chaos.customers:
        fields = budgets.gate(customer.user_id, customer.period_id)
        assert not fields or fields["active"] == fields["held"] == "0"
        assert all(count == "0" for name, count in fields.items() if name.startswith("a:"))


def _put_right(wiping: bool) -> None:
    """Killed workers and wipes may have taken words with them; nothing else may."""
    found = budgets.free_orphans(older_than=-1)
    assert wiping or found == 0
