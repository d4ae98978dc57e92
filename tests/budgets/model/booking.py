"""Grants, expiries, upgrades, renewals, deletions, and keys that come and go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    rule,
)

from common import subscriptions
from common.errors import Conflict, SubscriptionRequired
from common.identity import accounts as identity
from common.identity import keys
from common.operations import account_deletion
from common.subscriptions import months
from tests import factories
from tests.budgets import world
from tests.budgets.model.ground import AT_ONCE, KEYS, accounts, numbers, posts
from tests.budgets.model.working import Working
from tests.subscriptions import one_by_one
from tests.subscriptions.accounts import began, expire


class Booking(Working):
    """Grants, expiries, upgrades, renewals, deletions, and keys that come and go."""

    @rule(account=accounts, tokens=st.integers(-40, 40))
    def grant(self, account: int, tokens: int) -> None:
        covered = self.available(account) + tokens >= 0
        try:
            subscriptions.grant(self.customers[account].user_id, tokens, reason="model", actor=self.admin)
        except Conflict:
            assert not covered
        else:
            assert covered or tokens >= 0

    @rule(account=accounts, tokens=st.integers(1, 40), days=st.sampled_from([1, 400]))
    def grant_until(self, account: int, tokens: int, days: int) -> None:
        until = datetime.now(UTC) + timedelta(days=days)
        user_id = self.customers[account].user_id
        subscriptions.grant(user_id, tokens, reason="model", actor=self.admin, expires_at=until)

    @rule(account=accounts, number=numbers, how=st.sampled_from(["a submit", "a sweep", "not yet"]))
    def expire(self, account: int, number: int, how: str) -> None:
        """The last day of a grant is over, and somebody comes upon it, or nobody yet."""
        lasting = one_by_one.lasting(self.period(account))
        if not lasting:
            return
        user_id = expire(lasting[number % len(lasting)])
        if how == "a submit":
            subscriptions.for_submit(user_id)
        elif how == "a sweep":
            assert subscriptions.settle_remainders() >= 1

    @rule(account=accounts, more=st.integers(1, 50))
    def upgrade(self, account: int, more: int) -> None:
        current = subscriptions.current(self.customers[account].user_id)
        plan = factories.plan(current.tokens.granted + more, at_once=AT_ONCE)
        subscriptions.subscribe(self.customers[account].user_id, plan)

    @rule(account=accounts)
    def renew(self, account: int) -> None:
        """A month ends. What is open settles in the period that it was accepted in."""
        if account in self.renewed:
            return
        self.renewed.add(account)
        customer = self.customers[account]
        began(customer.user_id, months.beginning(datetime.now(UTC), -1) - timedelta(hours=1))
        assert subscriptions.renew_due() == 1
        assert self.period(account) != customer.period_id
        self.customers[account] = replace(customer, period_id=self.period(account))
        self.roots[account] = replace(self.roots[account], period_id=self.period(account))

    @rule(account=accounts, number=numbers, how=posts, at_once=st.booleans())
    def leave(self, account: int, number: int, how: str, at_once: bool) -> None:
        """The owner deletes the account: what is queued is canceled, what runs is settled. Somebody else follows.

        Or the process dies after the commit, and a sweep does the rest.
        """
        if len(self.customers) > 3:
            return
        customer = self.customers[account]
        with self.post.sending(how), pytest.MonkeyPatch.context() as patch:
            patch.setattr(account_deletion, "CANCEL_SECONDS", 10.0 if at_once else 0.0)
            account_deletion.close(identity.get(customer.user_id), actor=self.admin)
            account_deletion.finish()
        with pytest.raises(SubscriptionRequired):
            customer.submit(self.tools[number % 3])
        for slow in [slow for slow in self.slow if slow[0] == account]:
            assert not self._row_is_accepted(*slow[1:]), "stored for an account that is gone"
            self.slow.remove(slow)
        self.customers.append(customer)
        self.customers[account] = self.roots[account] = self._joins(account)
        self.renewed.discard(account)
        left = len(self.customers) - 1
        for each in [each for each, owner in self.owners.items() if owner == account]:
            self.owners[each] = left
            if each in self.open:
                self.open[each].account = left
        self._finished()

    @rule()
    def finish_deletions(self) -> None:
        """What went back to the queue since its owner has left is not tried again."""
        account_deletion.finish()
        self._finished()

    def _finished(self) -> None:
        for each in [each for each, row in self.open.items() if row.account > 1 and row.token is None]:
            self._ends(each, "canceled", 0)

    @rule()
    def a_day_ends(self) -> None:
        """What was charged is of yesterday; what is open counts on. A hold that has no row yet is not good any more."""
        if self.late:
            return  # an end that nobody was told of would move to another day than it says
        self.slow = [slow for slow in self.slow if slow[0] == 0]
        world.a_day_passes()
        self.dump = {}

    @rule(account=accounts)
    def revoke_the_key(self, account: int) -> None:
        """The account makes another one; what was accepted from the first runs on, and nothing new is."""
        root = self.roots[account]
        assert root.caller.api_key_id is not None
        keys.revoke(root.user_id, root.caller.api_key_id, actor=self.admin)
        self.revoked |= self.line.pop(root.caller.api_key_id, set()) | {root.caller.api_key_id}
        self.roots[account] = factories.keyed(root, *KEYS[account])
        self.customers[account] = self.roots[account]

    @rule(account=accounts, tokens=st.sampled_from([15, 30, 200]))
    def delegate(self, account: int, tokens: int) -> None:
        """From now on the account submits with a key that comes from its key."""
        root = self.roots[account]
        self.customers[account] = child = factories.delegated(root, tokens)
        assert root.caller.api_key_id is not None
        assert child.caller.api_key_id is not None
        self.line.setdefault(root.caller.api_key_id, set()).add(child.caller.api_key_id)
