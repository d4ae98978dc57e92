"""Accounts, plans and tools for tests that begin after them: made by the verbs that operators use.

Every name is unique, so that what one test made never stands in the way of another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from uuid import UUID

from common import budgets, invocations, subscriptions
from common.identity import accounts, delegation, email_addresses, keys
from common.identity.audit import OPERATOR, Actor
from common.identity.authorization import Caller
from common.identity.delegation import Delegation
from common.identity.key_limits import Allowance
from common.identity.keys import NewLimits
from common.invocations import ClaimOptions, Completion, Order, Task
from common.kit import db
from common.kit.clock import uuid7
from common.models.subscriptions import Plan
from common.tools import ListedTool, editing

PASSWORD = "correct horse battery staple"
_numbers = count(1)

GOOD = Completion("succeeded", output={"ok": True}, cost=1, http_status=200, duration_ms=3)
BAD = Completion("failed", error_code="tool_failed", error_detail="500", http_status=500, duration_ms=3)
TOO_DEAR = Completion("failed", None, 1_000_000, "cost_exceeded", "It cost more.", http_status=200, duration_ms=3)


def user(*, role: str = "user") -> Caller:
    """An account, as the caller that all its scopes make it."""
    name = f"ada-{next(_numbers)}"
    made = accounts.create(email_addresses.parse(f"{name}@example.com"), PASSWORD, name, role=role)
    return Caller(made.id, role, frozenset(), None, None, email_verified=True)


def plan(
    tokens: int | None,
    *,
    at_once: int | None = None,
    per_minute: int | None = None,
    price: int = 0,
    rollover: int = 0,
) -> str:
    """A plan with these limits (None: unlimited); returns its slug."""
    slug = f"plan-{next(_numbers)}"
    limits = {"monthly_tokens": tokens, "max_concurrency": at_once, "rate_limit_per_minute": per_minute}
    with db.transaction() as session:
        session.add(Plan(slug=slug, name=slug, price_cents=price, rollover_percent=rollover, **limits))
    return slug


def tool(**changes: Any) -> ListedTool:
    """A tool that takes any object, holds 10 tokens, is idempotent and may be tried three times; never called here."""
    slug = f"tool-{next(_numbers)}"
    draft = {
        "slug": slug,
        "name": slug,
        "endpoint_url": "http://127.0.0.1:9/tool",
        "input_schema": {"type": "object"},
        "price": {"base_tokens": 1, "per_unit": None, "max_tokens": 10},
        "idempotent": True,
        **changes,
    }
    return editing.create(OPERATOR, editing.Draft.of(draft))


@dataclass(frozen=True, slots=True)
class Customer:
    """A subscribed account and what it is booked on."""

    caller: Caller
    period_id: UUID
    plan: str
    #: The text of its key, if it has one.
    key: str = ""

    @property
    def user_id(self) -> UUID:
        return self.caller.user_id

    def submit(self, tool: ListedTool | str, **changes: Any) -> UUID:
        """Submit an order through the front outbound of `common`; returns the invocation's id."""
        return invocations.submit(self.caller, tool if isinstance(tool, str) else tool.slug, order(**changes)).id

    def account(self) -> budgets.Account:
        """What the gate is asked for."""
        return invocations.account_of(self.caller, subscriptions.for_submit(self.user_id))


def customer(tokens: int | None = 1_000_000, *, at_once: int | None = None, per_minute: int | None = None) -> Customer:
    """A new account, subscribed to a new plan with these limits (None: unlimited)."""
    caller, slug = user(), plan(tokens, at_once=at_once, per_minute=per_minute)
    subscriptions.subscribe(caller.user_id, slug)
    return Customer(caller, subscriptions.for_submit(caller.user_id).period_id, slug)


def keyed(customer: Customer, tokens: int, window: str = "total", at_once: int | None = None) -> Customer:
    """The same account, by a new key with this allowance."""
    limits = NewLimits(Allowance(tokens, window), max_concurrency=at_once)
    _, text = keys.create(customer.user_id, "a key", actor=OPERATOR, limits=limits)
    return replace(customer, caller=keys.authenticate(text), key=text)


def delegated(customer: Customer, tokens: int) -> Customer:
    """The same account, by a new key that comes from the one that it has."""
    _, text = delegation.delegate(customer.caller, Delegation(tokens, 86_400))
    return replace(customer, caller=keys.authenticate(text), key=text)


def order(**changes: Any) -> Order:
    """What a caller asks for; its body is what it is recognised by."""
    given = {"input": {}, "request_id": "test", **changes}
    return Order(**{"body": {"input": given["input"]}, **given})


def worker() -> ClaimOptions:
    """A worker process that is in the books and takes whatever there is."""
    me = uuid7()
    invocations.heartbeat(me, name="test", progress=True, stopping=False)
    return ClaimOptions(me)


def admin() -> Actor:
    """An admin, as the one who grants."""
    return Actor("session", user(role="admin").user_id)


def taken(claim_options: ClaimOptions) -> Task:
    """The next task; fails when there is none."""
    task = invocations.claim(claim_options)
    assert task is not None, "nothing is due"
    return task
