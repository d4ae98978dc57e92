"""The oracle of the fault suite sees what it is there to see: fabricated histories, each with one thing wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.faults import charges, load
from tools.faults.memory import Memory
from tools.faults.oraclelog import OracleLog, Seen
from tools.faults.people import FLAT, PRICE

ID = "0190abcd-0000-7000-8000-000000000001"


def told(status: str, **changes: Any) -> dict[str, Any]:
    """An invocation as the API shows it."""
    charged = 5 if status == "succeeded" else 0
    output = {"units": 4} if status == "succeeded" else None
    bill = {"held": 20, "charged": charged, "outcome": "", "reason": None}
    return {"id": ID, "status": status, "output": output, "billing": bill, "created_at": "t", **changes}


def contradictions(*heard: tuple[Any, float, float]) -> list[str]:
    memory = Memory()
    for answer, asked, answered in heard:
        memory.heard(answer, asked, answered)
    return list(memory.violations())


def one(status: str, **changes: Any) -> dict[str, Any]:
    return {"data": told(status, **changes)}


def event(kind: str, status: str) -> dict[str, Any]:
    return {"data": [{"id": "e", "type": f"invocation.{kind}", "timestamp": "t", "data": told(status)}]}


def test_an_honest_history_has_no_contradictions() -> None:
    batch = {"data": [{"status": 202, "invocation": told("queued")}, {"status": 422, "problem": {"code": "x"}}]}
    assert not contradictions(
        (batch, 0, 1),
        (one("running"), 1, 2),
        (one("queued"), 2, 3),  # tried again
        (one("running"), 2.5, 5.5),  # asked before the end, answered after it
        (one("succeeded"), 4, 5),
        ({"data": [told("succeeded")], "meta": {}}, 6, 7),
        (event("running", "running"), 7, 8),  # the feed tells of the past
        (event("succeeded", "succeeded"), 8, 9),
        ({"data": {"tokens": {}}}, 9, 10),
        (None, 10, 11),
    )


@pytest.mark.parametrize(
    "heard",
    [
        [(one("succeeded"), 0, 1), (one("running"), 2, 3)],
        [(one("running"), 2, 3), (one("succeeded"), 0, 1)],
        [(one("succeeded"), 0, 1), (one("failed"), 2, 3)],
        [(one("canceled"), 0, 1), (event("succeeded", "succeeded"), 2, 3)],
        [(event("failed", "succeeded"), 0, 1), (one("succeeded"), 2, 3)],
        [(one("succeeded"), 0, 1), (one("succeeded", output={"units": 5}), 2, 3)],
        [(one("succeeded"), 0, 1), (one("succeeded", billing={"held": 20, "charged": 6}), 2, 3)],
        [(one("queued"), 0, 1), (one("queued", created_at="later"), 2, 3)],
    ],
)
def test_what_was_told_and_taken_back_is_seen(heard: list[tuple[Any, float, float]]) -> None:
    assert len(contradictions(*heard)) == 1


def test_a_webhook_that_told_another_end_is_seen() -> None:
    memory = Memory()
    body = json.dumps({"type": "invocation.failed", "timestamp": "t", "data": told("failed")}).encode()
    memory.hooked(body)
    assert not list(memory.violations())
    memory.heard(one("succeeded"), 0, 1)
    assert len(list(memory.violations())) == 1


def seen(*units: int) -> Seen:
    found = Seen()
    found.units[ID].update(units)
    return found


def bill(held: int, charged: int) -> dict[str, Any]:
    return {"held": held, "charged": charged, "outcome": "", "reason": None}


@pytest.mark.parametrize(
    ("shown", "limit", "answered"),
    [
        (told("succeeded"), None, seen(4)),
        (told("succeeded"), None, seen(4, 6)),
        (told("succeeded", billing=bill(5, 5)), 5, seen(4)),
        (told("failed", billing=bill(3, 3), error={"code": "cost_exceeded"}), 3, seen(4)),
        (told("failed", error={"code": "tool_failed"}), None, seen(4)),
        (told("canceled"), None, seen()),
    ],
)
def test_a_right_bill(shown: dict[str, Any], limit: int | None, answered: Seen) -> None:
    assert not list(charges.wrong(shown, PRICE, limit, answered))


@pytest.mark.parametrize(
    ("shown", "limit", "answered"),
    [
        (told("succeeded", billing=bill(20, 6)), None, seen(4)),
        (told("succeeded", billing=bill(20, 0)), None, seen(4)),
        (told("succeeded", billing=bill(20, 5)), None, seen()),
        (told("succeeded", billing=bill(20, 3)), 3, seen(4)),
        (told("succeeded", billing=bill(3, 3)), 3, seen(4)),
        (told("failed", billing=bill(3, 0), error={"code": "cost_exceeded"}), 3, seen(4)),
        (told("failed", billing=bill(5, 5), error={"code": "cost_exceeded"}), 5, seen(4)),
        (told("succeeded", billing=bill(3, 4)), 3, seen(4)),
        (told("succeeded", output={"units": 9}), None, seen(4)),
        (told("failed", billing=bill(20, 1)), None, seen(4)),
        (told("expired", billing=bill(19, 0)), None, seen()),
    ],
)
def test_a_wrong_bill_is_seen(shown: dict[str, Any], limit: int | None, answered: Seen) -> None:
    assert list(charges.wrong(shown, PRICE, limit, answered))


def test_a_flat_price_knows_no_units() -> None:
    assert not list(charges.wrong(told("succeeded", billing=bill(50, 50)), FLAT, None, seen(4)))
    assert list(charges.wrong(told("succeeded", billing=bill(50, 54)), FLAT, None, seen(4)))


@pytest.mark.parametrize(("status", "executed"), [(200, 2), (500, 2), (503, 2), (0, 2), (429, 1)])
def test_only_429_says_that_a_tool_did_not_run(tmp_path: Path, status: int, executed: int) -> None:
    lines = [
        {"what": "start", "key": ID, "at": 1.0},
        {"what": "end", "key": ID, "at": 1.0, "status": status, "units": 3},
        {"what": "start", "key": ID, "at": 2.0},
        {"what": "end", "key": ID, "at": 2.0, "status": 200, "units": 3},
    ]
    log = OracleLog(tmp_path / "log")
    log.path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert log.read().executed(ID) == executed


@pytest.mark.parametrize(
    ("answer", "said", "sure"),
    [
        ("503", {"detail": "The budget is being rebuilt; nothing was done."}, True),
        ("503", {"detail": "The answer was lost: this may or may not have been done."}, False),
        ("429", {}, True),
        ("refused", None, True),
        ("lost", None, False),
        ("500", {}, False),
    ],
)
def test_what_a_client_without_a_key_may_take_for_not_done(answer: str, said: Any, sure: bool) -> None:
    assert load._was_not_done(answer, said) is sure
