"""Statements, periods and the forecast as clients see them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from common.kit.clock import uuid7
from dev.platform import Platform
from tests.client import Client, Json

Offer = Callable[..., str]


def total(statement: Json) -> int:
    """What must be zero, by the fields of the answer alone."""
    tokens = {name: sum(line["tokens"] for line in statement[name]) for name in ("grants", "charges", "holds")}
    held = tokens["holds"] + statement["other_holds"]["tokens"]
    assert (statement["granted"], statement["charged"], statement["held"]) == (
        tokens["grants"],
        tokens["charges"],
        held,
    )
    return int(tokens["grants"] - tokens["charges"] - held - statement["available"])


def test_a_statement_of_what_really_ran(client: Client, offer: Offer) -> None:
    fast, slow = offer("/echo"), offer("/echo?after=60000", timeout_seconds=100)
    client.ended(client.invoke(fast, {"text": "hello"})["id"])
    running = client.invoke(slow, {"text": "x"})

    statement = client.data("GET", "/subscriptions/statement")

    assert set(statement) == {
        *("period", "granted", "charged", "held", "available"),
        *("grants", "charges", "holds", "other_holds", "checked"),
    }
    assert total(statement) == 0
    (granted,), (day,), (hold,) = (statement[name] for name in ("grants", "charges", "holds"))
    assert (granted["kind"], granted["tokens"], granted["actor_id"]) == ("plan", 10_000, None)
    assert day == {"day": f"{datetime.now(UTC):%Y-%m-%d}", "invocations": 1, "tokens": 6}
    assert hold == {
        "invocation_id": running["id"],
        "tool": slow,
        "tokens": 50,
        "created_at": running["created_at"],
    }
    assert (statement["other_holds"], statement["checked"]) == ({"invocations": 0, "tokens": 0}, None)
    assert statement["available"] == client.tokens()["available"]
    client.invocations.cancel(running["id"])


def test_a_check_is_kept_in_the_statement(client: Client, offer: Offer) -> None:
    client.ended(client.invoke(offer(), {"text": "hello"})["id"])
    checked = client.data("POST", "/subscriptions/statement/check")
    assert (checked["difference"], checked["rows"]) == (0, 2)
    assert client.data("GET", "/subscriptions/statement")["checked"] == checked
    again = client.call("POST", "/subscriptions/statement/check", 429)
    assert again.json()["code"] == "rate_limited"
    assert 1 <= int(again.headers["Retry-After"]) <= 60


def test_periods_name_the_statements(hub: Platform, client: Client) -> None:
    listed = client.call("GET", "/subscriptions/periods").json()
    assert listed["meta"] == {"limit": 20, "has_more": False, "next_cursor": None}
    (period,) = listed["data"]
    tokens = {"granted": 10_000, "charged": 0, "held": 0, "available": 10_000}
    current = client.data("GET", "/subscriptions/current")
    assert period == {
        "id": period["id"],
        "plan": "free",
        "status": "current",
        "starts_at": current["current_period_start"],
        "ends_at": current["current_period_end"],
        "tokens": tokens,
    }
    asked = {"period": period["id"]}
    statement = client.data("GET", "/subscriptions/statement", params=asked)
    assert {**statement["period"], "tokens": tokens} == period
    assert client.data("POST", "/subscriptions/statement/check", params=asked)["difference"] == 0

    stranger = Client(hub.url).join()
    for unknown in (asked, {"period": str(uuid7())}):
        assert stranger.call("GET", "/subscriptions/statement", 404, params=unknown).json()["code"] == "not_found"
        stranger.call("POST", "/subscriptions/statement/check", 404, params=unknown)
    for wrong in ({"period": "last"}, {"month": "2026-01"}):
        stranger.call("GET", "/subscriptions/statement", 422, params=wrong)


def test_who_never_subscribed_has_none(hub: Platform) -> None:
    nobody = Client(hub.url).join(plan=None)
    assert nobody.data("GET", "/subscriptions/periods") == []
    for method, path in (
        ("GET", "/subscriptions/statement"),
        ("POST", "/subscriptions/statement/check"),
        ("GET", "/usage/forecast"),
    ):
        assert nobody.call(method, path, 404).json()["code"] == "not_found"


def test_a_key_with_the_scope_reads_and_checks(client: Client) -> None:
    key = client.keys.create(name="reader", scopes=["subscriptions:read"]).key
    client.http.headers["Authorization"] = f"Bearer {key}"
    (period,) = client.data("GET", "/subscriptions/periods")
    assert client.data("GET", "/subscriptions/statement")["period"]["id"] == period["id"]
    assert client.data("POST", "/subscriptions/statement/check")["difference"] == 0
    assert client.call("GET", "/usage/forecast", 403).json()["code"] == "scope_missing"


def test_the_forecast_of_what_really_ran(client: Client, offer: Offer) -> None:
    quiet = client.data("GET", "/usage/forecast")
    nothing, never = dict.fromkeys(("low", "middle", "high"), 0.0), dict.fromkeys(("low", "middle", "high"))
    resets_at = client.tokens()["resets_at"]
    assert quiet == {
        "available": 10_000, "pace_per_day": nothing, "lasts_until": never, "resets_at": resets_at
    }  # fmt: skip
    client.ended(client.invoke(offer(), {"text": "hello"})["id"])
    busy = client.data("GET", "/usage/forecast")
    assert (busy["available"], busy["pace_per_day"]) == (9_994, dict.fromkeys(("low", "middle", "high"), 6.0))
    days = {(datetime.fromisoformat(at) - datetime.now(UTC)).days for at in busy["lasts_until"].values()}
    assert days == {9_994 // 6} or days == {9_994 // 6 - 1}
