"""PostgreSQL goes back in time (a replica is promoted that lacks the last commits, a copy is started), Redis does not.

For real: a server of its own, whose data directory is copied and put back.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from common import boot, budgets, invocations, subscriptions
from common.errors import BudgetExhausted
from common.kit import db as database
from common.kit import redis as redis_kit
from common.operations import ledger
from common.settings import Settings
from dev import servers
from dev.servers import Postgres
from tests import factories
from tests.budgets import world
from tests.conftest import migrate


class Primary:
    """A PostgreSQL that can be put back to how it was at `copy`."""

    def __init__(self, directory: Path) -> None:
        self.server = Postgres(directory)
        self._kept = directory / "kept"
        self._start()
        servers.create_database(self.server)
        migrate(self.server.url())

    def copy(self) -> None:
        self._halt()
        subprocess.run(["cp", "-a", str(self.server.data), str(self._kept)], check=True)
        self._start()

    def go_back(self) -> None:
        self._halt()
        shutil.rmtree(self.server.data)
        self._kept.rename(self.server.data)
        self._start()

    def _start(self) -> None:
        self.server.start()
        self.server.wait()

    def _halt(self) -> None:
        os.kill(self.server.pid, signal.SIGQUIT)
        self.server.stop()


@pytest.fixture
def primary(db: None, settings: Settings, tmp_path: Path, hurried: None) -> Iterator[Primary]:
    """All of this process's rows are there; Redis is the usual one."""
    primary = Primary(tmp_path)
    boot.connect(replace(settings, database_url=primary.server.url()), process="test", pool_size=20)
    yield primary
    boot.connect(settings, process="test", pool_size=20)
    primary.server.stop()


def test_ends_that_are_gone_are_not_spent_again(primary: Primary) -> None:
    """The gate has what was freed by ends that never were: the rows hold it still."""
    customer, tool, worker = factories.customer(40), factories.tool(), factories.worker()
    made = [customer.submit(tool) for _ in range(4)]
    primary.copy()
    for _ in made:
        invocations.complete(factories.taken(worker), factories.GOOD, replace(worker, take_next=False))
    primary.go_back()
    with pytest.raises(BudgetExhausted) as refusal:
        customer.submit(tool)
    assert refusal.value.members["available"] == 0
    assert sorted(world.open_rows()) == sorted(made)
    assert ledger.verify().differences == ()


def test_a_grant_that_is_gone_is_not_spent(primary: Primary) -> None:
    customer, tool = factories.customer(20), factories.tool()
    customer.submit(tool)
    primary.copy()
    subscriptions.grant(customer.user_id, 100, reason="more", actor=factories.admin())
    primary.go_back()
    with database.transaction() as session:
        budgets.bump(session, customer.period_id)  # so the epoch is that of the grant again, by chance
    customer.submit(tool)
    with pytest.raises(BudgetExhausted):
        customer.submit(tool)
    assert ledger.verify().differences == ()


def test_slots_that_completions_gave_back_are_not_given_again(primary: Primary) -> None:
    """Nobody has more at work than their plan allows, also when a sweep is the first to ask."""
    customer, tool = factories.customer(at_once=1), factories.tool()
    worker = replace(factories.worker(), take_next=False)
    again = customer.submit(tool)
    invocations.retry_later(factories.taken(worker), factories.BAD, 3600.0, worker)
    customer.submit(tool)
    primary.copy()
    invocations.complete(factories.taken(worker), factories.GOOD, worker)
    primary.go_back()
    world.shift("due_at", [again], -7200)
    invocations.sweeping.place_waiting([])
    assert sum(world.busy()[customer.period_id]) == 1
    customer.submit(tool)
    assert ledger.verify().differences == ()


def test_repair_notices_a_gate_of_another_run(primary: Primary, redis: redis_kit.Client) -> None:
    """Also of an account that nobody submits for any more, and when every figure is right."""
    customer, tool = factories.customer(40), factories.tool()
    customer.submit(tool)
    primary.copy()
    primary.go_back()
    key = budgets.budget_key(customer.user_id, customer.period_id)
    before = redis.hget(key, "server")
    budgets.free_orphans(older_than=-1)
    assert redis.hget(key, "server") not in (before, None)
    assert budgets.gate(customer.user_id, customer.period_id)["held"] == "10"
