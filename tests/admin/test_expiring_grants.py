"""Grants with an end and plans with a rollover, as admins give them and customers see them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from common.kit import clock
from common.operations import ledger
from dev.platform import Platform
from tests.admin.conftest import Admin
from tests.client import Client

Offer = Callable[..., str]


def in_seconds(seconds: float) -> str:
    return clock.rfc3339(datetime.now(UTC) + timedelta(seconds=seconds))


def test_a_grant_ends_on_its_own(admin: Admin, client: Client, offer: Offer) -> None:
    """Spent first; what is left at its end is gone for the next submit, whatever runs periodically."""
    who = client.id
    path, until = f"/admin/users/{who}/grants", in_seconds(3)
    made = admin.call("POST", path, 201, json={"tokens": 500, "reason": "for the day", "expires_at": until})
    grant = made.json()["data"]
    assert grant["expires_at"] == until
    assert admin.data("GET", made.headers["Location"].partition("/api/v1")[2]) == grant
    assert admin.done_to(who, action="user.grant")[0]["after"] == {
        "granted": 10_500, "tokens": 500, "reason": "for the day", "expires_at": until
    }  # fmt: skip
    client.ended(client.invoke(offer(), {"text": "hello"})["id"])
    assert client.tokens()["available"] == 10_494
    while clock.rfc3339(datetime.now(UTC)) < until or client.tokens()["available"] > 10_000:
        clock.sleep(0.05)
    statement = client.data("GET", "/subscriptions/statement")
    assert (statement["granted"], statement["charged"], statement["available"]) == (10_006, 6, 10_000)
    assert [(line["kind"], line["tokens"], line["expires_at"], line["source_id"]) for line in statement["grants"]] == [
        ("plan", 10_000, None, None),
        ("admin", 500, until, None),
        ("expiry", -494, None, grant["id"]),
    ]
    assert ledger.verify().differences == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "tomorrow"},
        {"expires_at": "2099-01-01T00:00:00"},
        {"expires_at": None},
        {"expires_at": 4_070_908_800},
        {"expires_at": "2099-01-01T00:00:00Z", "tokens": -5},
    ],
    ids=str,
)
def test_ends_that_are_refused(admin: Admin, client: Client, wrong: dict[str, object]) -> None:
    who = client.id
    body = {"tokens": 5, "reason": "-", **wrong}
    refused = admin.call("POST", f"/admin/users/{who}/grants", 422, json=body).json()
    assert [fault["pointer"] for fault in refused["errors"]] == ["/expires_at"]
    assert client.tokens()["granted"] == 10_000


def test_a_grant_under_a_key_is_one_with_its_end(admin: Admin, client: Client) -> None:
    who, key = client.id, {"Idempotency-Key": "until-then"}
    path, body = f"/admin/users/{who}/grants", {"tokens": 5, "reason": "-", "expires_at": "2099-01-01T01:00:00+01:00"}
    first = admin.data("POST", path, 201, json=body, headers=key)
    assert first["expires_at"] == "2099-01-01T00:00:00.000000Z"
    same = {**body, "expires_at": "2099-01-01T00:00:00Z"}
    assert admin.data("POST", path, 201, json=same, headers=key) == first
    for other in ({**body, "expires_at": "2099-01-02T00:00:00Z"}, {"tokens": 5, "reason": "-"}):
        assert admin.call("POST", path, 422, json=other, headers=key).json()["code"] == "idempotency_key_reused"
    assert client.tokens()["granted"] == 10_005


def test_a_plan_says_how_much_rolls_over(hub: Platform, admin: Admin) -> None:
    plan = {"slug": "saver", "name": "Saver", "monthly_tokens": 100, "rollover_percent": 25}
    assert admin.data("POST", "/admin/plans", 201, json=plan)["rollover_percent"] == 25
    shown = {each["slug"]: each["rollover_percent"] for each in Client(hub.url).data("GET", "/subscriptions/plans")}
    assert (shown["saver"], shown["free"]) == (25, 0)
    assert admin.data("PATCH", "/admin/plans/saver", json={"rollover_percent": 100})["rollover_percent"] == 100
    for wrong in (-1, 101, 2.5, "10", None):
        admin.call("PATCH", "/admin/plans/saver", 422, json={"rollover_percent": wrong})


def test_the_forecast_knows_what_is_lost(admin: Admin, client: Client, offer: Offer) -> None:
    who = client.id
    client.ended(client.invoke(offer(), {"text": "hello"})["id"])
    before = client.data("GET", "/usage/forecast")["lasts_until"]["middle"]
    body = {"tokens": 600, "reason": "-", "expires_at": in_seconds(10 * 86_400)}
    admin.call("POST", f"/admin/users/{who}/grants", 201, json=body)
    after = client.data("GET", "/usage/forecast")["lasts_until"]["middle"]
    won = datetime.fromisoformat(after) - datetime.fromisoformat(before)
    assert abs(won - timedelta(days=10)) < timedelta(hours=1), "at 6 a day, and not 100 days"
