"""The payer's own books: every line is recomputed from rows, and each kind of wrong row is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from joyfull import ConfigurationError
from joyfull.books import Rows, price_of, report
from tests.client import Client
from tests.clients.scripted import Stage

PRICE = {"base_tokens": 1, "per_unit": {"pointer": "/n", "tokens": 0.1, "unit": "word"}, "max_tokens": 50}


def ended(identifier: str, status: str = "succeeded", charged: int = 2, **billing: Any) -> dict[str, Any]:
    outcome = "charged" if charged else "free"
    return {
        "id": identifier, "status": status, "attempts": 1, "created_at": "2026-11-02T00:00:00Z",
        "finished_at": "2026-11-02T00:00:01Z",
        "billing": {
            "held": 50, "charged": charged, "outcome": outcome, "reason": None, "price": PRICE, "units": 10, **billing,
        },
    }  # fmt: skip


def rows(*invocations: dict[str, Any]) -> Rows:
    total = sum(each["billing"]["charged"] for each in invocations)
    period = {"id": "p", "plan": "free", "starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z"}
    statement = {"granted": 100, "charged": total, "held": 10, "available": 90 - total, "period": period}
    return Rows(
        "2026-11-01T00:00:00Z", "2026-11-29T00:00:00Z", {each["id"]: each for each in invocations},
        [{"id": "u" + each["id"], "invocation_id": each["id"], "tokens_used": each["billing"]["charged"]}
         for each in invocations],
        {"totals": {"tokens_used": total}}, statement, deepcopy(statement),
    )  # fmt: skip


def right() -> Rows:
    return rows(
        ended("a"),
        ended("b", "failed", 0),
        ended("c", "failed", 9, held=9, reason="cost_exceeded"),
        ended("d", "expired", 0),
        ended("e", "canceled", 2),
        ended("f", "succeeded", 50, units=1e9),
    )


def test_right_books_hold() -> None:
    found = report(right())
    assert found.holds, found
    assert len(found.checks) == 7


def without_entry(wrong: Rows) -> None:
    wrong.usage.pop()


def doubled_entry(wrong: Rows) -> None:
    wrong.usage.append({**wrong.usage[0], "id": "again"})


def dearer(wrong: Rows) -> None:
    wrong.invocations["a"]["billing"]["charged"] = 3


def above_the_hold(wrong: Rows) -> None:
    wrong.invocations["f"]["billing"]["held"] = 49


def charged_failure(wrong: Rows) -> None:
    wrong.invocations["b"]["billing"].update(charged=2, outcome="charged")


def other_amount(wrong: Rows) -> None:
    wrong.usage[0]["tokens_used"] += 1
    wrong.usage[1]["tokens_used"] -= 1


def other_summary(wrong: Rows) -> None:
    wrong.summary["totals"]["tokens_used"] += 1


def lost_tokens(wrong: Rows) -> None:
    wrong.statement["available"] -= 1


def other_period(wrong: Rows) -> None:
    for each in (wrong.statement, wrong.statement_after):
        each.update(charged=each["charged"] + 1, available=each["available"] - 1)


WRONGS: dict[Callable[[Rows], None], str] = {
    without_entry: "exactly one usage entry", doubled_entry: "exactly one usage entry", dearer: "the price's",
    above_the_hold: "no more than was held", charged_failure: "nothing was charged", other_amount: "has its charge",
    other_summary: "= summary", lost_tokens: "granted =", other_period: "the period was charged",
}  # fmt: skip


@pytest.mark.parametrize("spoil", WRONGS, ids=lambda each: each.__name__)
def test_each_kind_of_wrong_row_is_found(spoil: Callable[[Rows], None]) -> None:
    wrong = right()
    spoil(wrong)
    found = report(wrong)
    broken = [check.statement for check in found.checks if not check.holds]
    assert any(WRONGS[spoil] in statement for statement in broken), broken
    assert not found.holds


@pytest.mark.parametrize(
    ("tokens", "units", "cost"), [(0.1, 10, 2), (0.1, 3, 2), (0.7, 10, 8), (1e-7, 10, 2), (2, None, 1), (5, 1000, 50)]
)
def test_prices_are_rounded_up_as_decimals(tokens: float, units: float | None, cost: int) -> None:
    price = {**PRICE, "per_unit": {"pointer": "/n", "tokens": tokens, "unit": "word"}}
    assert price_of({"price": price, "units": units}) == cost


def test_kept_rows_are_checked_offline_and_the_past_may_not_change(tmp_path: Path) -> None:
    right().save(tmp_path)
    stage = Stage("sync")
    assert stage.do(lambda client: client.books(kept=tmp_path)).holds
    assert stage.sent == []
    changed = right()
    changed.invocations["a"]["billing"]["charged"] = 3
    with pytest.raises(ConfigurationError, match="invocation a"):
        changed.save(tmp_path)
    assert json.loads((tmp_path / "books.json").read_text())["invocations"]["a"]["billing"]["charged"] == 2
    later = right()
    later.usage.pop(0)
    with pytest.raises(ConfigurationError, match="usage ua"):
        later.save(tmp_path)


def test_the_platforms_bill_holds(client: Client, offer: Callable[..., str], tmp_path: Path) -> None:
    tool, broken = offer(), offer("/fail")
    jobs = [client.submit(tool, {"text": "x" * n}) for n in range(1, 5)]
    jobs += [client.submit(broken, {"text": "x"}, max_tokens=20), client.submit(tool, {"text": "x"}, max_tokens=20)]
    for job in jobs:
        job.wait()
    found = client.books(save=tmp_path)
    assert found.holds, found
    assert found.invocations == 6
    assert "the period was charged" in found.checks[-1].statement
    assert client.books(kept=tmp_path).holds
