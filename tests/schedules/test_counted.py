"""What becomes of the times of schedules is counted, and how late they were."""

from __future__ import annotations

from collections import Counter

from prometheus_client import REGISTRY
from sqlalchemy import text

from common.kit import db as database
from common.operations import figures
from common.tools import breakers, editing
from tests import factories
from tests.runs.conftest import Api
from tests.schedules.conftest import Sweep

OUTCOMES = ("submitted", "refused", "missed", "postponed", "overtaken")


def counted() -> Counter[str]:
    found: Counter[str] = Counter()
    for outcome in OUTCOMES:
        value = REGISTRY.get_sample_value("joyfull_schedule_firings_total", {"outcome": outcome})
        found[outcome] = int(value or 0)
    return found


def late() -> float:
    return REGISTRY.get_sample_value("joyfull_schedule_late_seconds_sum") or 0.0


def test_each_time_is_counted_by_what_came_of_it(api: Api, sweep: Sweep) -> None:
    tool, before, seconds = factories.tool(), counted(), late()

    def grown() -> dict[str, int]:
        return {outcome: now - before[outcome] for outcome, now in counted().items() if now != before[outcome]}

    sweep.add(tool)
    sweep.after(3600 + 120)
    assert grown() == {"submitted": 1}
    assert 119 <= late() - seconds < 200
    sweep.after(2 * 3600)
    assert grown() == {"submitted": 2, "overtaken": 1}
    breakers._breaker(str(tool.id)).open()
    sweep.after(3600)
    assert grown() == {"submitted": 2, "overtaken": 1, "postponed": 1}
    breakers.close(tool.id)
    sweep.later()
    editing.change(factories.admin(), tool.id, {"input_schema": {"required": ["other"]}})
    sweep.after(3600)
    assert grown() == {"submitted": 3, "overtaken": 1, "postponed": 1, "refused": 1}
    database.rowcount(text("delete from schedules"), {})
    sweep.add(factories.tool(), cron="0 0 1 1 *")
    sweep.after(400 * 86_400)
    assert grown()["missed"] == 1


def test_how_long_the_oldest_has_been_due(sweep: Sweep) -> None:
    assert figures.oldest_due_schedule() == 0
    sweep.add()
    assert figures.oldest_due_schedule() == 0
    database.rowcount(text("update schedules set next_at = now(), due_at = now() - interval '90 s'"), {})
    assert 90 <= figures.oldest_due_schedule() < 120
