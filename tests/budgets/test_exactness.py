"""Many processes submit on a small budget while Redis is wiped: exactly what the budget covers is accepted.

`EXACT_PROCESSES=8 EXACT_SUBMITS=125 EXACT_BUDGET=100 EXACT_ROUNDS=12 pytest tests/budgets/test_exactness.py` is the
whole of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common import budgets
from common.errors import BudgetExhausted
from common.kit import redis as redis_kit
from common.operations import ledger
from tests import factories
from tests.budgets import world

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = int(os.environ.get("EXACT_PROCESSES", "3"))
SUBMITS = int(os.environ.get("EXACT_SUBMITS", "60"))
BUDGET = int(os.environ.get("EXACT_BUDGET", "40"))
ROUNDS = int(os.environ.get("EXACT_ROUNDS", "1"))
THREADS = 4
WIPE_SECONDS = 0.15

Process = subprocess.Popen[str]


@contextmanager
def submitters(environ: dict[str, str], *args: str, processes: int = PROCESSES) -> Iterator[list[Process]]:
    """Processes that have booted and wait for the signal to begin."""
    command = [sys.executable, "-m", "tests.budgets.submitter", *args]
    pipe, quiet = subprocess.PIPE, {**environ, "LOG_LEVEL": "ERROR"}
    children = [
        subprocess.Popen(command, cwd=ROOT, env=quiet, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for _ in range(processes)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        yield children
    finally:
        for child in children:
            child.kill()
            child.wait()


def begin(children: list[Process]) -> None:
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()


def results(children: list[Process]) -> Counter[str]:
    """What became of all submits. None of the processes may have failed over one."""
    total: Counter[str] = Counter()
    for child in children:
        said, complaints = child.communicate(timeout=300)
        assert child.returncode == 0, complaints[-5_000:]
        total.update(json.loads(said))
    return total


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_exactly_what_the_budget_covers(db: None, environ: dict[str, str], _round: int) -> None:
    customer, tool = factories.customer(BUDGET * 10), factories.tool()
    with submitters(environ, str(customer.user_id), tool.slug, str(SUBMITS), str(THREADS)) as children:
        begin(children)
        wipes = 0
        while any(child.poll() is None for child in children) and wipes < 1000:
            time.sleep(WIPE_SECONDS)
            redis_kit.client().flushall()
            wipes += 1
        ends = results(children)
    print(f"{dict(ends)}, {wipes} wipes")
    assert len(world.open_rows()) == ends["accepted"], "a promise without a row, or a row without a promise"
    while True:  # those that were told "later" come back now
        try:
            customer.submit(tool)
        except BudgetExhausted:
            break
    assert len(world.open_rows()) == BUDGET
    assert sum(ends.values()) == PROCESSES * SUBMITS
    assert set(ends) <= {"accepted", "budget_exhausted", "dependency_unavailable"}
    assert ledger.verify().differences == ()


@pytest.mark.chaos
@pytest.mark.parametrize("_round", range(ROUNDS))
def test_submitters_that_are_killed_leave_nothing_behind(db: None, environ: dict[str, str], _round: int) -> None:
    """SIGKILL wherever they are, also between hold and row: what they held is given to others."""
    customer, tool = factories.customer(BUDGET * 10), factories.tool()
    with submitters(environ, str(customer.user_id), tool.slug, "100000", str(THREADS)) as children:
        begin(children)
        deadline = time.monotonic() + 20
        while len(world.open_rows()) < BUDGET / 4 and time.monotonic() < deadline:
            time.sleep(0.005)
        for child in children:
            child.send_signal(signal.SIGKILL)
    leaked = len(world.dumped()) and len(budgets.gate(customer.user_id, customer.period_id)) - 6
    print(f"{len(world.open_rows())} rows, {leaked} holds")
    assert 0 < len(world.open_rows()) <= BUDGET
    redis_kit.client().delete(*redis_kit.client().scan_iter(match="checked:*"), "-")
    while True:
        try:
            customer.submit(tool)
        except BudgetExhausted:
            break
    assert len(world.open_rows()) == BUDGET
    assert ledger.verify().differences == ()
