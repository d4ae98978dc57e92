"""One data set for every page: an account that is an admin's too, with long names, strangers' text and every state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

import psycopg

from common import boot, subscriptions, webhooks
from common.identity import accounts, email_addresses, keys
from common.identity.audit import OPERATOR
from common.identity.key_limits import Allowance
from common.identity.keys import NewLimits
from common.kit import clock, db
from common.kit.clock import uuid7
from common.models.base import MAX_TOKENS
from common.models.subscriptions import UNLIMITED_TOKENS, Plan
from tests import factories
from tests.console.charges import charge
from tests.factories import Customer

#: Strangers' text: as long as a name may be, without a place to break it, and with what must not be obeyed.
LONG: Final = ("<script>alert(1)</script>'\"&\u202e\u200b\ufeff{{ 7*7 }}" + "W" * 200)[:190]
#: The plan and the tool have one slug, so that a page finds something by it, whichever its address means.
SLUG: Final = "a-slug-that-is-as-long-as-slugs-can-be-and-not-one-letter-more"
#: More than is left of anything, and still exact in JavaScript.
MANY: Final = UNLIMITED_TOKENS - 1
SCHEMA: Final = {
    "type": "object",
    "required": ["text"],
    "properties": {
        "text": {"type": "string", "description": LONG},
        "count": {"type": "integer"},
        "mode": {"enum": ["fast", "exact", None]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "inner": {"type": "object", "properties": {"day": {"type": "string", "format": "date"}}},
        "any": {},
    },
}


@dataclass(frozen=True, slots=True)
class DataSet:
    """The address to sign in with, and what there is, by the name that addresses of pages have for it."""

    email: str
    there_is: Mapping[str, str]


def seed(tools: str, database_url: str, finish: Callable[[list[UUID]], None]) -> DataSet:
    """Write it. `tools`: where the misbehaving one is; `finish`: sees to it that one run succeeds and one fails."""
    customer = _customer()
    made = factories.tool(
        slug=SLUG,
        name=LONG[:100],
        description=LONG * 3,
        category="odd",
        endpoint_url=f"{tools}/echo",
        input_schema=SCHEMA,
        example_input={"text": "an example"},
        price={
            "base_tokens": 2,
            "per_unit": {"pointer": "/units", "tokens": 1, "unit": "character"},
            "max_tokens": 10**12,
        },
    )
    slug = made.slug
    failing = factories.tool(endpoint_url=f"{tools}/fail?status=500", idempotent=False).slug
    runs = [customer.submit(each, input={"text": LONG * 3}) for each in (slug, failing)]
    waiting = customer.submit(slug, input={"text": "x"}, not_before=clock.now() + timedelta(hours=1))
    factories.customer(10**13).submit(slug, input={"text": "x"}, not_before=clock.now() + timedelta(hours=1))
    for day in range(12):
        charge(customer, 10**11 + day, at=clock.now() - timedelta(days=day))
    finish(runs)
    endpoint, delivery = _webhooks(customer, database_url)
    subscriptions.check(customer.user_id)
    ids = {
        "invocation_id": waiting,
        "endpoint_id": endpoint,
        "delivery_id": delivery,
        "key_id": _keys(customer),
        "user_id": customer.user_id,
        "tool_id": made.id,
    }
    there_is = {name: str(each) for name, each in ids.items()}
    there_is |= {
        "ended": str(runs[0]),
        "failed": str(runs[1]),
        "slug": SLUG,
        "tool": SLUG,
        "token": "x" * 43,
        "number": "1",
    }
    return DataSet(accounts.get(customer.user_id).email, there_is)


def _customer() -> Customer:
    email = email_addresses.parse(f"{'w' * 64}@{'long-' * 8}example.com")
    user = accounts.create(email, factories.PASSWORD, LONG, role="admin", verified=False)
    with db.transaction() as session:
        texts = {"name": LONG[:50], "description": LONG * 2, "price_cents": 123_456_789}
        session.add(Plan(slug=SLUG, monthly_tokens=MANY, max_concurrency=1_000_000, **texts))
    subscriptions.subscribe(user.id, SLUG)
    subscriptions.grant(user.id, MAX_TOKENS - UNLIMITED_TOKENS, reason=LONG, actor=factories.admin())
    caller = replace(factories.user(), user_id=user.id)
    return Customer(caller, subscriptions.for_submit(user.id).period_id, SLUG)


def _keys(customer: Customer) -> UUID:
    soon = clock.now() + timedelta(days=10)
    limits = NewLimits(Allowance(MANY, "day"), rate_limit_per_minute=1_000_000, tools=[SLUG])
    keys.create(customer.user_id, "a program", actor=OPERATOR)
    return keys.create(customer.user_id, LONG, actor=OPERATOR, expires_at=soon, limits=limits)[0].id


def _webhooks(customer: Customer, database_url: str) -> tuple[UUID, UUID]:
    """An endpoint that fails, with a failed delivery."""
    url = f"https://example.com/{'x' * 300}"
    made = webhooks.create(customer.user_id, boot.outbound(), url=url, description=LONG, events=["completed"])
    endpoint, event, delivery = made.endpoint.id, uuid7(), uuid7()
    with psycopg.connect(database_url, autocommit=True) as sql:
        sql.execute("update webhook_endpoints set failing_since = now() where id = %s", (endpoint,))
        sql.execute(
            "insert into events (id, user_id, type, data) values (%s, %s, 'budget.threshold', '{}')",
            (event, customer.user_id),
        )
        sql.execute(
            "insert into deliveries (id, event_id, user_id, endpoint_id, status, finished_at, tries)"
            " values (%s, %s, %s, %s, 'failed', now(), 1)",
            (delivery, event, customer.user_id, endpoint),
        )
        sql.execute(
            "insert into delivery_attempts values (%s, 1, now(), 500, 12, 'The receiver answered 500.', %s)",
            (delivery, LONG * 4),
        )
    return endpoint, delivery
