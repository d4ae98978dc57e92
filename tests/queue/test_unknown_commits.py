"""The answer of a submit's commit is lost, and before anybody can ask again, somebody else changes what it rested on.

Through a real proxy in front of PostgreSQL. (tests/explorer does the same at every exchange; this is the readable one.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from common import budgets, subscriptions
from common.errors import BudgetExhausted, PlatformError
from common.identity.audit import OPERATOR
from common.kit import db
from common.kit import redis as redis_kit
from common.operations import ledger
from common.settings import Settings
from common.tools import ListedTool, editing
from tests import factories
from tests.budgets import world
from tests.factories import Customer
from tests.queue.proxy import Proxy
from tests.timing import Gap, using

database = db
SUBMIT = "insert into idempotency_keys"


@pytest.fixture
def proxy(db: None, settings: Settings, hurried: None) -> Iterator[Proxy]:
    with Proxy(settings.database_url) as proxy:
        database.connect(proxy.url, pool_size=20, application_name="test", shared=settings.shares_connections)
        yield proxy
        database.connect(
            settings.database_url, pool_size=20, application_name="test", shared=settings.shares_connections
        )


def wipe(customer: Customer, _tool: ListedTool) -> None:
    redis_kit.client().flushall()
    budgets.rebuild(customer.user_id, customer.period_id)


def grant(customer: Customer, _tool: ListedTool) -> None:
    subscriptions.grant(customer.user_id, 10, reason="more", actor=factories.admin())


def take_back(customer: Customer, _tool: ListedTool) -> None:
    subscriptions.grant(customer.user_id, -10, reason="less", actor=factories.admin())


def upgrade(customer: Customer, _tool: ListedTool) -> None:
    subscriptions.subscribe(customer.user_id, factories.plan(60, price=9))


def unsubscribe(customer: Customer, _tool: ListedTool) -> None:
    subscriptions.cancel(customer.user_id, at_period_end=False)


def edit(_customer: Customer, tool: ListedTool) -> None:
    editing.change(OPERATOR, tool.id, {"name": "Another name", "timeout_seconds": 29})


def archive(_customer: Customer, tool: ListedTool) -> None:
    editing.archive(OPERATOR, tool.id)


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("happens", [wipe, grant, take_back, upgrade, unsubscribe, edit, archive])
def test_a_row_that_was_written_is_found_whatever_happened_since(
    proxy: Proxy, happens: Callable[[Customer, ListedTool], None], key: str | None
) -> None:
    customer, tool = factories.customer(40), factories.tool()
    before = [customer.submit(tool)]  # one only: the statement is not prepared yet, so its text goes out with it
    with using(Gap(lambda: happens(customer, tool))):
        proxy.lose_next(SUBMIT)
        made = customer.submit(tool, idempotency_key=key)
    assert proxy.lost == 1
    assert set(world.open_rows()) == {*before, made}, "one request, one row, and its id was told"
    books_of_it = world.books()[customer.period_id]
    with pytest.raises(PlatformError) as refused:
        for _ in range(6):
            customer.submit(tool)
    if happens not in (unsubscribe, archive):
        assert refused.type is BudgetExhausted
    assert world.books()[customer.period_id].available >= 0
    assert books_of_it.held == 20
    budgets.free_orphans(older_than=-1)
    assert ledger.verify().differences == ()
