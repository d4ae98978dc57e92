"""A success updates the row of its invocation in place (heap-only): no index of the table gets a new entry."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import text

from common import invocations
from tests import factories
from tests.factories import BAD, GOOD
from tests.plain import plain

#: Few enough for one page, which keeps a fifth of its room for updates.
SEVERAL = 4


class Updates(NamedTuple):
    """How many updates of `invocations` there were so far, and how many of them in place."""

    all: int
    in_place: int


def updates() -> Updates:
    """As far as this thread's one connection knows them: what it has counted is handed in first."""
    plain(text("select pg_stat_force_next_flush()"), {})
    query = "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'invocations'"
    return Updates(*plain(text(query), {})[0])


def test_a_success_is_an_update_in_place_and_a_failure_is_not(db: None) -> None:
    """From submit to end, as it usually is. Failures are in indexes of their own, and so show that this counts."""
    customer, tool, worker = factories.customer(), factories.tool(), replace(factories.worker(), take_next=False)
    ends = [end for end in (GOOD, BAD) for _ in range(SEVERAL)]
    before = updates()
    for _ in ends:
        customer.submit(tool)
    for end in ends:
        invocations.complete(factories.taken(worker), end, worker)
    after = updates()
    assert after.all - before.all == len(ends)
    assert after.in_place - before.in_place == SEVERAL
