"""An operator at the command line is no account, and may do all that an admin may."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from common import subscriptions
from common.identity import accounts, keys
from common.identity.audit import OPERATOR, PLATFORM, Actor, entries
from common.kit.paging import Window
from common.operations import ledger
from common.subscriptions import plans
from common.tools import editing
from tests import factories
from tests.factories import Customer


@pytest.mark.parametrize("actor", [OPERATOR, PLATFORM, Actor("link")], ids=lambda actor: actor.kind)
def test_grants_tokens_and_takes_them_back(db: None, actor: Actor) -> None:
    customer = factories.customer(100)
    for tokens in (50, -120):
        made = subscriptions.grant(customer.user_id, tokens, reason="by hand", actor=actor)
        assert (made.kind, made.tokens, made.actor_id) == ("admin", tokens, None)
    found = subscriptions.statement(customer.user_id, None)
    assert [(grant.kind, grant.tokens, grant.actor_id) for grant in found.grants] == [
        ("plan", 100, None),
        ("admin", 50, None),
        ("admin", -120, None),
    ]
    assert found.balance.available == 30
    recorded = [entry for entry in entries(Window(10, None)).items if entry.action == "user.grant"]
    assert {(entry.actor_kind, entry.actor_id) for entry in recorded} == {(actor.kind, None)}
    assert ledger.verify().differences == ()


def _keys(customer: Customer) -> None:
    key, _ = keys.create(customer.user_id, "k", actor=OPERATOR)
    keys.rotate(customer.user_id, key.id, 0, actor=OPERATOR)
    keys.revoke(customer.user_id, key.id, actor=OPERATOR)


def _plans(customer: Customer) -> None:
    fields = {"slug": f"{customer.plan}-2", "name": "Two", "monthly_tokens": 5, "price_cents": 0, "currency": "EUR"}
    plans.create(fields, actor=OPERATOR)
    plans.edit(f"{customer.plan}-2", {"monthly_tokens": 6}, actor=OPERATOR)


def _tools(_customer: Customer) -> None:
    tool = factories.tool()
    editing.change(OPERATOR, tool.id, {"name": "Another"})
    editing.reset_breaker(OPERATOR, tool.id)
    editing.archive(OPERATOR, tool.id)


def _account(customer: Customer) -> None:
    accounts.set_password(customer.user_id, "another quiet river", actor=OPERATOR)
    accounts.administer(customer.user_id, actor=OPERATOR, is_active=False)


@pytest.mark.parametrize("change", [_keys, _plans, _tools, _account], ids=lambda each: each.__name__)
def test_changes_whatever_admins_do(db: None, change: Callable[[Customer], None]) -> None:
    customer = factories.customer(100)
    change(customer)
    made = [entry for entry in entries(Window(20, None)).items if entry.actor_kind == "operator"]
    assert made
    assert {entry.actor_id for entry in made} == {None}
