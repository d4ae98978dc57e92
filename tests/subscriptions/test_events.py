"""`subscription.changed`: told of every change of a subscription, and of nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from common import boot, subscriptions, webhooks
from common.errors import Conflict
from common.settings import Settings
from tests.plain import plain
from tests.subscriptions.accounts import account, began, last_31st
from web.api.openapi import document
from web.app import create_app

_TOLD = text("select type, data from events where user_id = :user order by era, xid, id")


def told(user_id: UUID) -> list[Any]:
    """The data of every event so far."""
    found = plain(_TOLD, {"user": user_id})
    assert {row.type for row in found} <= {"subscription.changed"}
    return [row.data for row in found]


def test_every_change_is_told_and_nothing_else(db: None, settings: Settings) -> None:
    user = account("free")
    subscriptions.current(user)
    assert told(user) == [], "a first subscription is no change"

    seen: list[Any] = []

    def last(**expected: object) -> None:
        """One more event, that says this."""
        events = told(user)
        assert len(events) == len(seen) + 1
        seen[:] = events
        assert expected.items() <= events[-1].items()

    subscriptions.subscribe(user, "pro")
    last(plan="pro", status="active", cancel_at_period_end=False, pending_plan=None)
    subscriptions.subscribe(user, "free")
    last(plan="pro", pending_plan="free")
    subscriptions.subscribe(user, "enterprise")
    with pytest.raises(Conflict):
        subscriptions.subscribe(user, "enterprise")
    last(plan="enterprise", pending_plan=None)
    subscriptions.cancel(user)
    last(status="active", cancel_at_period_end=True)
    subscriptions.cancel(user)
    assert told(user) == seen, "nothing has changed"
    subscriptions.cancel(user, at_period_end=False)
    last(status="canceled", cancel_at_period_end=False)
    subscriptions.subscribe(user, "enterprise")
    last(status="active")

    schema = document.of(create_app(settings))["components"]["schemas"]["SubscriptionChanged"]
    shown = subscriptions.current(user)
    assert all(set(event) == set(schema["required"]) == set(schema["properties"]) for event in told(user))
    assert told(user)[-1]["current_period_end"] == f"{shown.current_period_end:%Y-%m-%dT%H:%M:%S.%fZ}"


def test_what_happens_at_the_end_of_a_period_is_told_once(db: None) -> None:
    user = account("pro")
    subscriptions.subscribe(user, "free")
    began(user, last_31st(timedelta(days=100)))
    subscriptions.renew_due()
    subscriptions.current(user)
    assert [(event["plan"], event["pending_plan"]) for event in told(user)] == [("pro", "free"), ("free", None)]

    subscriptions.cancel(user)
    plain(text("update periods set ends_at = now() where user_id = :user and closed_at is null"), {"user": user})
    subscriptions.renew_due()
    assert subscriptions.current(user).status == "expired"
    assert [event["status"] for event in told(user)] == ["active"] * 3 + ["expired"]
    subscriptions.subscribe(user, "free")
    assert told(user)[-1]["status"] == "active"
    assert len(told(user)) == 5


def test_it_is_sent_to_endpoints_that_ask_for_it(db: None) -> None:
    user = account("free")
    urls = {"all": ["subscription.changed", "completed"], "none": ["completed"]}
    for name, events in urls.items():
        webhooks.create(user, boot.outbound(), url=f"http://127.0.0.1:9/{name}", events=events)
    subscriptions.subscribe(user, "pro")
    sent = "select w.url from deliveries d join webhook_endpoints w on w.id = d.endpoint_id"
    assert [row.url for row in plain(text(sent), {})] == ["http://127.0.0.1:9/all"]
