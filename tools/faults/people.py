"""Accounts and tools of a world, made by the verbs that operators use."""

from __future__ import annotations

import os
from uuid import UUID, uuid4

from common import boot, subscriptions, webhooks
from common.identity import accounts, audit, email_addresses, keys
from common.models.webhooks import COMPLETED
from common.tools import editing
from tools.faults.charges import Price
from tools.faults.load import Account

PASSWORD = f"Canary {uuid4()}"
PLAN = "storm"
PRICE: Price = {
    "base_tokens": 1,
    "per_unit": {"pointer": "/units", "tokens": 1, "unit": "letter"},
    "max_tokens": 20,
}
FLAT: Price = {"base_tokens": 50, "per_unit": None, "max_tokens": 50}
#: slug → where, is it idempotent, seconds.
TOOLS = {
    "echo": ("echo", True, 10),
    "brief": ("echo?after=200", True, 10),
    "slow": ("echo?after=1500", True, 10),
    "long": ("echo?after=5000", True, 20),
    "once": ("echo?after=300", False, 10),
    "once-long": ("echo?after=5000", False, 20),
    "once0": ("echo", False, 10),
    "once-fails": ("fails", False, 10),
    "once-flaky": ("flaky", False, 10),
    "once-busy": ("busy", False, 10),
    "flaky": ("flaky", True, 10),
    "switch": ("switch", True, 5),
    "short": ("echo?after=100", True, 3),
    "hang": ("hang", True, 3),
    "drip": ("drip", True, 3),
    "garbage": ("garbage", True, 5),
    "huge": ("huge", True, 10),
    "redirect": ("redirect", True, 5),
    "reset": ("reset", True, 5),
    "poison": ("echo?after=2500", True, 10),
}
#: A model that accepts no call.
REFUSING = "refusing"
PRICES: dict[str, Price] = {**dict.fromkeys(TOOLS, PRICE), "flat": FLAT}


def offer(url: str) -> None:
    """The oracle's tools in the catalogue, and a plan for whoever calls them all day."""
    entries = []
    for slug, (path, idempotent, seconds) in TOOLS.items():
        entries.append(
            {
                "slug": slug,
                "name": slug,
                "endpoint_url": f"{url}/{path}",
                "input_schema": {"type": "object"},
                "price": PRICE,
                "timeout_seconds": seconds,
                "max_attempts": 3,
                "idempotent": idempotent,
            }
        )
    entries.append({**entries[0], "slug": "flat", "name": "flat", "price": FLAT})
    refusing = {"type": "object", "required": ["nothing"]}
    entries.append({**entries[0], "slug": REFUSING, "adapter": "chat_completion", "input_schema": refusing})
    editing.load(audit.PLATFORM, entries)
    plan(PLAN, 2**40, 100)


def plan(slug: str, tokens: int, at_once: int) -> None:
    fields = {"monthly_tokens": tokens, "max_concurrency": at_once, "rate_limit_per_minute": None}
    words = {"slug": slug, "name": slug, "price_cents": 0, "currency": "EUR", "description": "For the fault tests."}
    subscriptions.plans.create({**words, **fields}, actor=audit.PLATFORM)


def join(number: int, hook_url: str, plan_slug: str = PLAN) -> Account:
    """A new account with a key, a subscription, and an endpoint that is told of every end."""
    user = accounts.create(
        email_addresses.parse(f"{plan_slug}-{number}-{os.getpid()}@example.com"), PASSWORD, "Storm", verified=True
    )
    subscriptions.subscribe(user.id, plan_slug)
    _, key = keys.create(user.id, "faults", actor=audit.PLATFORM)
    path = f"{hook_url}/{user.id}"
    created = webhooks.create(user.id, boot.outbound(), url=path, events=[COMPLETED])
    period = subscriptions.for_submit(user.id).period_id
    return Account(user.id, period, user.email, key, UUID(str(created.endpoint.id)), created.secret, f"/hook/{user.id}")
