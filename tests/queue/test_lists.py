"""Every list shows exactly what its filters say, page by page, whatever they are read from."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from common import invocations
from common.invocations import Invocation, sweeping
from common.kit import db as database
from common.kit.paging import Window
from common.models.invocations import STATUSES
from tests import factories
from tests.budgets import world
from tests.factories import BAD, GOOD, Customer
from tests.plain import plain

Filters = dict[str, Any]


class Lives:
    """Two accounts with invocations in every state, of two tools, over an hour, some in a period that is over."""

    def __init__(self) -> None:
        self.customers = [factories.customer(at_once=3) for _ in range(2)]
        self.tools = [factories.tool() for _ in range(2)]
        self.worker = replace(factories.worker(), take_next=False)
        for customer in self.customers:
            for tool in self.tools:
                self._live(customer, tool.slug)
        self._spread()
        self.all = [invocations.get(made, None) for made in self._ids()]

    def _live(self, customer: Customer, tool: str) -> None:
        for end in (GOOD, BAD, GOOD):
            customer.submit(tool)
            invocations.complete(factories.taken(self.worker), end, self.worker)
        invocations.cancel(customer.caller, customer.submit(tool))
        world.shift("expires_at", [customer.submit(tool)], -90_000)
        sweeping.expire()
        for _ in range(2):
            customer.submit(tool)
        factories.taken(self.worker)

    @staticmethod
    def _ids() -> list[UUID]:
        return [row.id for row in plain(text("select id from invocations"), {})]

    def _spread(self) -> None:
        """`created_at` is what `from` and `to` are about; the database's clock may differ from that of the ids."""
        query = """update invocations set created_at = created_at - interval '1 minute' * (n % 7) from
                   (select id as this, row_number() over (order by id) as n from invocations) x where id = this"""
        with database.transaction() as session:
            session.execute(text("set local session_replication_role = replica"))
            session.execute(text(query))

    def expected(self, filters: Filters) -> list[UUID]:
        kept = [each for each in self.all if _fits(each, filters)]
        return sorted((each.id for each in kept), reverse=True)


def _fits(each: Invocation, wanted: Filters) -> bool:
    return (
        wanted.get("owner") in (None, each.user_id)
        and (not wanted.get("statuses") or each.status in wanted["statuses"])
        and wanted.get("tool") in (None, each.tool_slug, str(each.tool_id))
        and ("start" not in wanted or each.created_at >= wanted["start"])
        and ("end" not in wanted or each.created_at < wanted["end"])
    )


@pytest.fixture
def lives(db: None) -> Lives:
    return Lives()


def shown(filters: Filters, limit: int) -> list[UUID]:
    """All pages of that list."""
    wanted = {"owner": None, **filters}
    owner, window, found = wanted.pop("owner"), Window(limit, None), []
    while True:
        page = invocations.listing(owner, window, **wanted)
        found += [each.id for each in page.items]
        if not page.has_more:
            return found
        window = Window(limit, page.next)


def _moments(lives: Lives) -> list[Filters]:
    first = min(each.created_at for each in lives.all)
    moments: list[datetime] = [first + timedelta(minutes=n) for n in (0, 2, 4)]
    exact = lives.all[3].created_at
    return [{}, {"start": exact}, {"end": exact}, {"start": moments[1], "end": moments[2]}]


def test_every_list(lives: Lives) -> None:
    assert {each.status for each in lives.all} == set(STATUSES)
    some = (["queued", "running"], ["failed", "succeeded", "failed"], ["canceled", "expired", "queued"])
    statuses: list[list[str]] = [[], *([each] for each in STATUSES), *some, [*STATUSES]]
    seen = 0
    for owner in (None, lives.customers[0].user_id):
        for tool in (None, lives.tools[0].slug, str(lives.tools[1].id), "nothing"):
            for moment in _moments(lives):
                for wanted in statuses:
                    filters = {"owner": owner, "tool": tool, "statuses": wanted, **moment}
                    assert shown(filters, 5) == lives.expected(filters), filters
                    seen += len(lives.expected(filters))
    assert seen > 500


def test_nobody_sees_anothers(lives: Lives) -> None:
    other = factories.customer()
    assert shown({"owner": other.user_id}, 5) == []
    assert shown({"owner": other.user_id, "statuses": ["queued", "failed"]}, 5) == []
