"""Plans and subscriptions as clients see them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from common.operations import ledger
from dev.platform import Platform
from tests.admin.conftest import Admin
from tests.client import Client

Offer = Callable[..., str]
PLANS = [("free", 10_000, 300, 10), ("pro", 1_000_000, 600, 100), ("enterprise", 50_000_000, 6_000, 1_000)]


def test_plans_are_public(hub: Platform) -> None:
    stranger = Client(hub.url)
    found = stranger.data("GET", "/subscriptions/plans")
    named = ("slug", "monthly_tokens", "rate_limit_per_minute", "max_concurrency")
    assert [tuple(plan[name] for name in named) for plan in found] == PLANS
    limits = {"max_streams", "max_payload_bytes", "rollover_percent"}
    assert set(found[0]) == {*named, *limits, "name", "price_cents", "currency", "description"}
    page = stranger.call("GET", "/subscriptions/plans", params={"limit": 2}).json()
    rest = stranger.data("GET", "/subscriptions/plans", params={"cursor": page["meta"]["next_cursor"]})
    assert [plan["slug"] for plan in page["data"] + rest] == ["free", "pro", "enterprise"]


def test_the_life_of_a_subscription(hub: Platform) -> None:
    client = Client(hub.url).join(plan=None)
    client.call("GET", "/subscriptions/current", 404)
    client.call("POST", "/subscriptions/cancel", 404)
    assert previewed(client, "free") == ("begin", 10_000, None, False)
    created = client.call("POST", "/subscriptions/subscribe", 201, json={"plan": "free"})
    assert previewed(client, "free") == ("nothing", 0, "free", True)
    assert previewed(client, "pro") == ("raise", 990_000, "free", True)
    client.call("GET", "/subscriptions/preview?plan=gold", 422)
    assert created.headers["Location"].endswith("/api/v1/subscriptions/current")
    found = client.data("GET", "/subscriptions/current")
    assert created.json()["data"] == found
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found["current_period_end"])
    tokens = {"granted": 10_000, "charged": 0, "held": 0, "available": 10_000}
    assert found["tokens"] == {**tokens, "resets_at": found["current_period_end"]}
    assert client.call("POST", "/subscriptions/subscribe", 409, json={"plan": "free"}).json()["code"] == "conflict"
    assert client.data("POST", "/subscriptions/subscribe", 200, json={"plan": "pro"})["tokens"]["granted"] == 1_000_000
    assert client.data("POST", "/subscriptions/subscribe", 200, json={"plan": "free"})["pending_plan"] == "free"
    assert previewed(client, "pro") == ("undo", 0, "pro", True)
    canceled = client.data("POST", "/subscriptions/cancel")
    assert (canceled["status"], canceled["cancel_at_period_end"], canceled["pending_plan"]) == ("active", True, None)
    ended = client.data("POST", "/subscriptions/cancel", json={"at_period_end": False})
    assert ended["status"] == "canceled"
    assert (previewed(client, "pro")[0], previewed(client, "free")[0]) == ("resume", "lower")
    client.call("POST", "/subscriptions/cancel", 409)
    assert client.data("POST", "/subscriptions/subscribe", 201, json={"plan": "pro"})["status"] == "active"


def previewed(client: Client, plan: str) -> tuple[str, int | None, str | None, bool]:
    """What subscribing is said to do: its kind, what is granted, the present plan, whether its period has an end."""
    found = client.data("GET", "/subscriptions/preview", params={"plan": plan})
    assert found["plan"]["slug"] == plan
    return found["kind"], found["granted"], found["present"], found["ends_at"] is not None


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/plan"),
        ({"plan": "gold"}, "/plan"),
        ({"plan": None}, "/plan"),
        ({"plan": 1}, "/plan"),
        ({"plan": "free", "price": 0}, "/price"),
        ({"plan": "f" * 64}, "/plan"),
    ],
)
def test_bodies_that_are_refused(client: Client, body: object, pointer: str) -> None:
    refused = client.call("POST", "/subscriptions/subscribe", 422, json=body).json()
    assert [fault["pointer"] for fault in refused["errors"]] == [pointer]


def test_a_key_reads_the_subscription_and_never_changes_it(client: Client) -> None:
    key = client.keys.create(name="reader", scopes=["subscriptions:read"]).key
    client.http.headers["Authorization"] = f"Bearer {key}"
    assert client.data("GET", "/subscriptions/current")["plan"] == "free"
    client.call("POST", "/subscriptions/subscribe", 403, json={"plan": "pro"})
    client.call("POST", "/subscriptions/cancel", 403)
    client.call("GET", "/usage", 403)


def test_admins_edit_plans(hub: Platform, client: Client) -> None:
    client.call("GET", "/admin/plans", 403)
    admin = Admin(hub.url).join()
    plan = {"slug": "team", "name": "Team", "monthly_tokens": None, "price_cents": 9_900, "position": 25}
    created = admin.call("POST", "/admin/plans", 201, json=plan)
    assert admin.data("GET", created.headers["Location"].partition("/api/v1")[2])["monthly_tokens"] is None
    assert admin.call("POST", "/admin/plans", 409, json=plan).json()["code"] == "slug_taken"
    edited = admin.data("PATCH", "/admin/plans/team", json={"monthly_tokens": 5, "is_active": False})
    assert (edited["monthly_tokens"], edited["is_active"], edited["name"]) == (5, False, "Team")
    assert "team" in [p["slug"] for p in admin.data("GET", "/admin/plans")]
    assert "team" not in [p["slug"] for p in client.data("GET", "/subscriptions/plans")]
    admin.call("PATCH", "/admin/plans/unknown", 404, json={"name": "-"})
    for wrong in ({"currency": "usd"}, {"max_concurrency": 0}, {"monthly_tokens": -1}, {"slug": "other"}):
        admin.call("PATCH", "/admin/plans/team", 422, json=wrong)


def test_a_plan_without_a_limit_is_shown_as_that_everywhere(hub: Platform, client: Client, offer: Offer) -> None:
    admin = Admin(hub.url).join()
    admin.call("POST", "/admin/plans", 201, json={"slug": "endless", "name": "Endless", "monthly_tokens": None})
    subscribed = client.data("POST", "/subscriptions/subscribe", json={"plan": "endless"})
    slug, who = offer(), client.id
    client.ended(client.invoke(slug, {"text": "hello"})["id"])
    for grant in (-1_000, 5_000):
        admin.call("POST", f"/admin/users/{who}/grants", 201, json={"tokens": grant, "reason": "a test"})
        tokens = client.tokens()
        assert (tokens["granted"], tokens["charged"], tokens["held"], tokens["available"]) == (None, 6, 0, None)
    quote = client.data("POST", f"/tools/{slug}/quote", json={"input": {"text": "hello"}})
    assert (quote["available"], quote["allowed"], quote["reason"]) == (None, True, None)
    assert (subscribed["tokens"]["granted"], subscribed["tokens"]["available"]) == (None, None)
    entries = admin.data("GET", "/admin/audit", params={"action": "user.grant"})
    assert [(entry["before"], entry["after"]["granted"]) for entry in entries] == [({"granted": None}, None)] * 2
    big = re.compile(r"4503599627\d{6}|90071992547\d{5}")
    for path in ("/subscriptions/current", "/subscriptions/plans", "/usage", "/usage/summary", "/events"):
        assert not big.search(client.call("GET", path).text), path
    for path in ("/admin/plans", "/admin/usage/stats", f"/admin/users/{who}", "/admin/audit"):
        assert not big.search(admin.call("GET", path).text), path
    admin.call("PATCH", "/admin/plans/endless", 422, json={"monthly_tokens": 2**52})
    assert ledger.verify().differences == ()
