"""Usage as clients see it, of invocations that really ran."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from dev.platform import Platform
from tests.client import Client

Offer = Callable[..., str]


def _run(client: Client, slug: str, *texts: str) -> list[dict[str, Any]]:
    made = [client.invoke(slug, {"text": text}) for text in texts]
    return [client.ended(invocation["id"]) for invocation in made]


@pytest.fixture
def worked(client: Client, offer: Offer) -> tuple[Client, str, str]:
    """An account with four calls that succeeded on one tool and one that failed on another."""
    good, bad = offer("/echo"), offer("/fail?status=500", max_attempts=1)
    _run(client, good, "a", "bb", "ccc", "dddd")
    _run(client, bad, "e")
    return client, good, bad


def test_each_end_is_one_entry(worked: tuple[Client, str, str]) -> None:
    client, good, bad = worked
    entries = client.data("GET", "/usage")
    assert [(e["tool"]["slug"], e["status"]) for e in entries] == [(bad, "error")] + [(good, "success")] * 4
    assert set(entries[0]) == {
        "id",
        "invocation_id",
        "tool",
        "status",
        "tokens_used",
        "latency_ms",
        "http_status",
        "api_key_id",
        "api_key_root_id",
        "end_user",
        "created_at",
    }
    charged = {e["invocation_id"]: e["tokens_used"] for e in entries}
    assert charged == {i["id"]: i["billing"]["charged"] for i in client.data("GET", "/invocations")}
    assert sum(charged.values()) == client.tokens()["charged"]
    assert [e["status"] for e in client.data("GET", "/usage", params={"status": ["error", "timeout"]})] == ["error"]
    assert len(client.data("GET", "/usage", params={"tool": good})) == 4
    assert len(client.data("GET", "/usage", params={"tool": entries[0]["tool"]["id"]})) == 1
    first = entries[-1]["created_at"]
    assert len(client.data("GET", "/usage", params={"from": first})) == 5
    assert client.data("GET", "/usage", params={"to": first}) == []


def test_a_summary_equals_the_history(worked: tuple[Client, str, str]) -> None:
    client, good, bad = worked
    summary = client.data("GET", "/usage/summary", params={"group_by": "tool", "bucket": "hour"})
    totals = summary["totals"]
    assert (totals["invocations"], totals["succeeded"], totals["failed"]) == (5, 4, 1)
    assert totals["tokens_used"] == sum(e["tokens_used"] for e in client.data("GET", "/usage"))
    assert 0 <= totals["latency_p50_ms"] <= totals["latency_p95_ms"]
    assert {g["key"]: g["invocations"] for g in summary["groups"]} == {good: 4, bad: 1}
    assert sum(p["tokens_used"] for p in summary["series"]) == totals["tokens_used"]
    period = client.data("GET", "/subscriptions/current")
    assert (summary["from"], summary["to"]) == (period["current_period_start"], period["current_period_end"])
    assert datetime.fromisoformat(summary["complete_through"]) <= datetime.fromisoformat(summary["to"])


def test_an_account_without_a_subscription_has_a_summary_too(hub: Platform) -> None:
    summary = Client(hub.url).join(plan=None).data("GET", "/usage/summary")
    assert summary["totals"] == {
        "invocations": 0,
        "succeeded": 0,
        "failed": 0,
        "tokens_used": 0,
        "latency_p50_ms": None,
        "latency_p95_ms": None,
    }
    assert summary["from"].endswith("-01T00:00:00.000000Z")


def test_an_export_is_the_history(worked: tuple[Client, str, str]) -> None:
    client, good, _ = worked
    entries = client.data("GET", "/usage")
    response = client.call("GET", "/usage/export", params={"format": "ndjson"})
    assert response.headers["Content-Type"] == "application/x-ndjson; charset=utf-8"
    assert [json.loads(line) for line in response.text.splitlines()] == entries
    response = client.call("GET", "/usage/export", params={"tool": good})
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == 'attachment; filename="usage.csv"'
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [row["invocation_id"] for row in rows] == [e["invocation_id"] for e in entries[1:]]
    assert {(row["tool"], row["api_key_id"], row["http_status"]) for row in rows} == {(good, "", "200")}


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/usage", {"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}),
        ("/usage", {"from": "yesterday"}),
        ("/usage", {"status": "succeeded"}),
        ("/usage", {"bucket": "day"}),
        ("/usage/summary", {"from": "1926-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}),
        ("/usage/summary", {"bucket": "minute"}),
        ("/usage/summary", {"group_by": "user"}),
        ("/usage/export", {"format": "xlsx"}),
        ("/usage/export", {"limit": "5"}),
    ],
)
def test_queries_that_are_refused(client: Client, path: str, params: dict[str, str]) -> None:
    assert client.call("GET", path, 422, params=params).json()["code"] == "validation_failed"
