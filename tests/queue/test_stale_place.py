"""A keeper that has read a parked row long ago must not place it again: the place counted for it may be another's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from common import books, budgets, invocations
from common.invocations import sweeping
from tests import factories
from tests.budgets import world
from tests.factories import BAD


def test_a_place_is_not_given_twice_to_a_row_that_moved_on(db: None) -> None:
    customer, tool, me = factories.customer(at_once=1), factories.tool(), factories.worker()
    first = customer.submit(tool)
    assert invocations.retry_later(factories.taken(me), BAD, 0.0, me) is None
    seen: Any = SimpleNamespace(id=first, moves=1)  # parked, with no place: two keepers read this, one is slow
    with world.post() as office, office.sending("late"):
        assert sweeping._place(customer.account(), seen)
        second = customer.submit(tool)
        following = invocations.retry_later(factories.taken(me), BAD, 0.0, me)
        assert following is not None and following.id == second, "it got the place"
        assert not sweeping._place(customer.account(), seen)
        assert world.busy() == {customer.period_id: (1, 1)}
    for word in office.late:
        word()
    budgets.free_orphans(older_than=-1)
    assert books.verify().differences == ()
