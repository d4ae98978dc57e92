"""What terminals look like: as they were looked at, at every width, and the same words without colours."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.canned import DONE, FAILED, ID, QUEUED, Canned
from tests.clients.conftest import Run
from tests.clients.scripted import Reply, ok

GOLDEN = Path(__file__).parent / "golden"
PER_UNIT = {"pointer": "/n", "tokens": 0.5, "unit": "character"}
FIGURES = {
    "invocations": 40,
    "succeeded": 38,
    "failed": 2,
    "tokens_used": 9120,
    "latency_p50_ms": 90,
    "latency_p95_ms": 210,
}
SUMMARY = {
    "from": "2026-11-23T00:00:00Z", "to": "2026-11-30T00:00:00Z", "bucket": "day", "group_by": "tool",
    "totals": {**FIGURES, "tokens_used": 12431},
    "groups": [
        {**FIGURES, "key": "sentiment"},
        {**FIGURES, "key": "summary-of-a-long-text", "tokens_used": 3311, "failed": 0, "latency_p95_ms": 1840},
        {**FIGURES, "key": "broken", "tokens_used": 0, "failed": 40, "latency_p95_ms": None},
    ],
    "series": [
        {**FIGURES, "start": f"2026-11-{day}T00:00:00Z", "tokens_used": tokens}
        for day, tokens in zip(range(23, 30), (900, 0, 2400, 1800, 4100, 3000, 231), strict=True)
    ],
    "complete_through": "2026-11-29T07:00:00Z",
}  # fmt: skip
PLAN = {
    "plan": "pro", "status": "active", "current_period_start": "2026-11-28T00:00:00Z",
    "current_period_end": "2026-12-28T00:00:00Z", "cancel_at_period_end": False, "pending_plan": None,
    "tokens": {
        "granted": 1_000_000, "charged": 12_431, "held": 5, "available": 987_564, "resets_at": "2026-12-28T00:00:00Z",
    },
}  # fmt: skip
TOOL = {
    "id": ID, "slug": "sentiment", "name": "Sentiment of a text", "category": "text", "is_available": True,
    "price": {"base_tokens": 1, "per_unit": PER_UNIT, "max_tokens": 200}, "latency_p95_ms": 210,
}  # fmt: skip
STATEMENT = {
    "granted": 1_000_000, "charged": 12_431, "held": 5, "available": 987_564,
    "period": {
        "id": ID, "plan": "pro", "status": "current",
        "starts_at": "2026-11-28T00:00:00Z", "ends_at": "2026-12-28T00:00:00Z",
    },
    "grants": [{
        "id": ID, "kind": "plan", "tokens": 1_000_000, "reason": "pro plan", "actor_id": None,
        "created_at": "2026-11-28T00:00:00Z", "expires_at": None, "source_id": None,
    }],
    "charges": [{"day": "2026-11-28", "invocations": 40, "tokens": 12_431}],
    "holds": [{"invocation_id": ID, "tool": "sentiment", "tokens": 5, "created_at": "2026-11-29T07:00:00Z"}],
    "other_holds": {"invocations": 0, "tokens": 0}, "checked": None,
}  # fmt: skip
ENDPOINT: dict[str, object] = {
    "id": ID, "url": "https://shop.example.com/hooks/orders", "events": ["completed"], "description": None,
    "status": "disabled", "disabled_reason": "failing", "rate_limit_per_second": None, "headers": {},
    "payload": "full", "include": [], "created_at": "2026-11-28T00:00:00Z",
}  # fmt: skip
SCREENS = {
    "endpoints": ["webhooks", "list"],
    "events": ["events", FAILED["id"]],
    "statement": ["statement"],
    "list": ["list"],
    "get": ["get", FAILED["id"]],
    "tools": ["tools"],
    "usage": ["usage"],
    "plan": ["plan"],
}


KEPT = [f"{screen}-{width}" for screen in SCREENS for width in (60, 80, 120)]


@pytest.fixture
def shown(canned: Canned, run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """What a command prints, by the name of its screen and width."""
    canned.on("GET /api/v1/invocations", ok([DONE, FAILED, QUEUED], meta={"has_more": False}))
    canned.on(f"GET /api/v1/invocations/{FAILED['id']}", ok(FAILED)).on("GET /api/v1/subscriptions/current", ok(PLAN))
    canned.on("GET /api/v1/tools", ok([TOOL], meta={"has_more": False}))
    canned.on("GET /api/v1/usage/summary", ok(SUMMARY)).on("GET /api/v1/subscriptions/statement", ok(STATEMENT))
    canned.on("GET /api/v1/webhooks", ok([ENDPOINT], meta={"has_more": False}))
    canned.on(f"GET /api/v1/invocations/{FAILED['id']}/events", Reply(204))
    monkeypatch.setenv("TERM", "xterm-256color")

    def show(name: str, color: str) -> str:
        screen, width, *_ = name.split("-")
        monkeypatch.setenv("COLUMNS", width)
        said = run("--color", color, *SCREENS[screen])
        assert said.status == 0, said.err
        return said.out

    return show


def golden(name: str, text: str) -> str:
    """What was looked at; `UPDATE_GOLDEN=1` keeps it anew, to be looked at again."""
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    return file.read_text()


@pytest.mark.parametrize("name", KEPT)
def test_the_terminal_looks_as_it_was_looked_at(shown: Callable[[str, str], str], name: str) -> None:
    plain = shown(name, "never")
    assert plain == golden(name, plain)
    assert max(map(len, plain.splitlines())) <= int(name.split("-")[1])
    assert "\x1b" not in plain
    colored = shown(name, "always")
    without = re.sub(r"\x1b\[[0-9;]*m", "", colored)
    assert [line.rstrip() for line in without.splitlines()] == plain.splitlines(), "colour is never alone"


@pytest.mark.parametrize("name", ["list-80-color", "usage-80-color"])
def test_the_colours_are_those_that_were_looked_at(shown: Callable[[str, str], str], name: str) -> None:
    colored = shown(name, "always")
    assert colored == golden(name, colored)
