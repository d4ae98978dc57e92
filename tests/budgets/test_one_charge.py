"""Exactly one charge: through SIGKILL at every step of a worker, ends that race with each other, and cancels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy import text

from common import budgets, invocations
from common.errors import AlreadyFinished
from common.invocations import sweeping
from common.kit import db
from common.operations import ledger
from tests import factories
from tests.budgets import world
from tests.factories import BAD, GOOD, Customer
from tests.outside.tool import Tool
from tests.plain import plain

ROOT = Path(__file__).resolve().parents[2]
SIGKILLED = -9
Offer = Callable[..., str]


@dataclass(frozen=True, slots=True)
class Laborer:
    """Starts workers that die at a failpoint."""

    process: subprocess.Popen[str]

    def work(self, point: str = "-") -> int:
        """Let one work off what is due; its exit status."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{point}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def laborer(environ: dict[str, str]) -> Iterator[Laborer]:
    command, pipe = [sys.executable, "-m", "tests.budgets.laborer"], subprocess.PIPE
    child = subprocess.Popen(
        command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    yield Laborer(child)
    child.communicate(timeout=30)


_OLD = text("""
update processes set heartbeat_at = heartbeat_at - interval '1 hour', suspect_at = suspect_at - interval '1 hour'
 where name like 'invocations@laborer-%'
""")


def an_hour_later() -> None:
    """A dead process is suspected first, then reaped, and its rows are taken back."""
    for _ in range(2):
        db.rowcount(_OLD, {})
        sweeping.reap_dead_processes()
    world.shift("due_at", list(world.open_rows()), -60)
    sweeping.place_waiting([])


def charges(customer: Customer) -> dict[UUID, list[int]]:
    """What each invocation has been charged, by its usage rows."""
    query = text("""select invocation_id as id, array_agg(tokens_used) as tokens
                      from usage_logs where user_id = :user group by 1""")
    return {row.id: row.tokens for row in plain(query, {"user": customer.user_id})}


@dataclass(frozen=True, slots=True)
class Step:
    """Where the worker dies, how often each tool is called in all, and how the call that must not be repeated ends."""

    point: str
    again: int
    once: int
    ends: str = "succeeded"


STEPS = [
    Step("worker.received", 1, 1),
    Step("worker.after_claim", 1, 1),
    Step("worker.before_send", 1, 0, "failed"),
    Step("worker.response_read", 2, 1, "failed"),
    Step("worker.after_commit", 1, 1),
    Step("worker.after_settle", 1, 1),
    Step("worker.after_ack", 1, 1),
]


@pytest.mark.chaos
@pytest.mark.parametrize("step", STEPS, ids=[step.point for step in STEPS])
def test_a_worker_is_killed_and_each_invocation_is_charged_once(
    laborer: Laborer, offer: Offer, tool: Tool, step: Step
) -> None:
    customer = factories.customer(1_000)
    again = customer.submit(offer(idempotent=True), input={"text": "twelve chars"})
    once = customer.submit(offer(idempotent=False), input={"text": "four"})
    expected = {
        again: (step.again, "succeeded", 13),
        once: (step.once, step.ends, 5 if step.ends == "succeeded" else 0),
    }
    for _ in expected:  # each of them has a worker die over it
        assert laborer.work(step.point) == SIGKILLED
        an_hour_later()
    assert laborer.work() == 0
    assert world.open_rows() == {}
    assert charges(customer) == {each: [charged] for each, (_, _, charged) in expected.items()}
    for each, (calls, ended, charged) in expected.items():
        assert (len(tool.calls(str(each))), world.ended_rows()[each].status) == (calls, ended)
        assert world.ended_rows()[each].charged == charged
    budgets.free_orphans(older_than=-1)
    gate = budgets.gate(customer.user_id, customer.period_id)
    assert not gate or (int(gate["charged"]), int(gate["held"])) == (sum(c for _, _, c in expected.values()), 0)
    assert ledger.verify().differences == ()


ROUNDS = 12


def test_whoever_ends_first_wins_and_the_others_change_nothing(db: None) -> None:
    """A success, the same success told twice, a failure under the same token, and a cancel, all at once."""
    customer, tool, worker = factories.customer(1_000), factories.tool(), factories.worker()
    for _ in range(ROUNDS):
        made = customer.submit(tool)
        task = factories.taken(worker)
        assert task.id == made
        start = Barrier(4)

        def end(outcome: invocations.Completion, task: invocations.Task = task, start: Barrier = start) -> None:
            start.wait(10)
            invocations.complete(task, outcome, worker)

        def cancel(made: UUID = made, start: Barrier = start) -> None:
            start.wait(10)
            with suppress(AlreadyFinished):
                invocations.cancel(customer.caller, made)

        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(end, outcome) for outcome in (GOOD, GOOD, BAD)] + [pool.submit(cancel)]
            for job in jobs:
                job.result()
    ends = world.ended_rows()
    assert len(ends) == ROUNDS
    assert {each: [end.charged] for each, end in ends.items()} == charges(customer)
    assert all(end.charged == (end.status == "succeeded") for end in ends.values())
    assert {end.status for end in ends.values()} <= {"succeeded", "failed", "canceled"}
    gate = budgets.gate(customer.user_id, customer.period_id)
    assert (int(gate["charged"]), int(gate["held"])) == (sum(end.charged for end in ends.values()), 0)
    assert ledger.verify().differences == ()
