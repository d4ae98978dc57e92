"""Of one time comes an invocation or a refusal, never both: whichever is decided first, whoever wakes up afterwards."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import text

from common import subscriptions
from common.invocations.schedules import firing
from common.kit import db as database
from common.kit import failpoints
from common.operations import ledger
from common.tools import breakers
from tests import factories
from tests.plain import plain
from tests.runs.conftest import Api, Json
from tests.runs.test_waiting import open_breaker
from tests.schedules.conftest import Died, Sweep, die
from tests.timing import once

SUBMIT, GIVE_UP, AFTER = "schedule.before_submit", "schedule.before_giving_up", "schedule.after_submit"
#: As if the next times of a schedule had come, five and ten minutes after the one that is due.
_OTHERS_CAME = text("update schedules set every_seconds = 300, counted_from = next_at - interval '300 s'")
_AGAIN = text("update schedules set next_at = last_at, due_at = last_at where id = :id")


def ten_minutes_ago(sweep: Sweep, schedule: Json) -> int:
    """Fire a schedule of every two hours ten minutes late."""
    return sweep.after(7200 + 601, of=schedule)


def dies_after_its_submit(sweep: Sweep) -> None:
    with failpoints.calling(AFTER, die), suppress(Died):
        sweep.later()


def next_times_come(sweep: Sweep) -> None:
    database.rowcount(_OTHERS_CAME, {})
    sweep.later()


def outcomes(sweep: Sweep) -> Counter[str]:
    """What came of each time: so many invocations and refusals."""
    keys = plain(text("select right(key, 20) as at from idempotency_keys where invocation_id is not null"), {})
    return Counter([each.at for each in keys] + [f"{each['at'][:19]}Z" for each in sweep.refused()])


def test_what_was_refused_is_made_by_no_sweep_that_wakes_up(sweep: Sweep) -> None:
    """It stood still before its submit. Another gave the time up, because the next ones had come."""
    tool = factories.tool()
    schedule = sweep.add(tool, every_seconds=7200)
    open_breaker(tool.id)
    assert ten_minutes_ago(sweep, schedule) == 0
    breakers.close(tool.id)
    with failpoints.calling(SUBMIT, once(lambda: next_times_come(sweep))):
        sweep.later()
    assert len(sweep.refused()) == len(sweep.made()) == 1
    assert set(outcomes(sweep).values()) == {1}
    assert sweep.shown(schedule)["last"]["invocation_id"] == sweep.made()[0]
    assert ledger.verify().differences == ()


def test_what_was_overtaken_is_made_by_no_sweep_that_wakes_up(sweep: Sweep) -> None:
    schedule = sweep.add(every_seconds=7200)
    with failpoints.calling(SUBMIT, once(lambda: next_times_come(sweep))):
        assert ten_minutes_ago(sweep, schedule) == 0, "another has done it"
    assert sweep.made() == [sweep.shown(schedule)["last"]["invocation_id"]]
    assert sweep.refused() == []


def test_what_was_made_is_refused_by_no_sweep_that_wakes_up(sweep: Sweep) -> None:
    """It stood still with a refusal in hand. Another submitted once there was budget, and died."""
    poor = sweep.api.of(factories.customer(5))
    sweep = Sweep(poor)
    schedule = sweep.add()

    def others() -> None:
        subscriptions.grant(poor.customer.user_id, 100, reason="more", actor=factories.admin())
        dies_after_its_submit(sweep)

    with failpoints.calling(GIVE_UP, once(others)):
        assert sweep.after(3601) == 1
    assert sweep.refused() == []
    assert sweep.made() == [sweep.shown(schedule)["last"]["invocation_id"]]
    assert sweep.shown(schedule)["last"]["problem"] is None
    assert sweep.fire() == 0, "it goes on with the next"


@pytest.mark.parametrize("postponed", [True, False])
def test_what_was_made_is_noted_when_later_times_have_come(sweep: Sweep, postponed: bool) -> None:
    tool = factories.tool()
    schedule = sweep.add(tool, every_seconds=7200)
    open_breaker(tool.id)
    if postponed:
        assert ten_minutes_ago(sweep, schedule) == 0
    breakers.close(tool.id)
    with failpoints.calling(AFTER, die), suppress(Died):
        sweep.later() if postponed else ten_minutes_ago(sweep, schedule)
    next_times_come(sweep)
    assert sweep.refused() == []
    assert sweep.made()[1:] == [sweep.shown(schedule)["last"]["invocation_id"]]


def test_what_was_made_is_not_missed(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever submitted it died, and nobody came to it for an hour."""
    schedule = sweep.add()
    with failpoints.calling(AFTER, die), suppress(Died):
        sweep.after(3601)
    monkeypatch.setattr(firing, "HOUR", timedelta(0))
    sweep.later()
    assert sweep.refused() == []
    assert sweep.made() == [sweep.shown(schedule)["last"]["invocation_id"]]


def test_a_clock_that_is_set_back_does_not_bring_a_refused_time_again(sweep: Sweep) -> None:
    poor = sweep.api.of(factories.customer(5))
    sweep = Sweep(poor)
    schedule = sweep.add()
    assert sweep.after(3601) == 1
    subscriptions.grant(poor.customer.user_id, 100, reason="more", actor=factories.admin())
    before = sweep.shown(schedule)
    database.rowcount(_AGAIN, {"id": schedule["id"]})
    sweep.fire()
    assert (sweep.made(), len(sweep.refused())) == ([], 1)
    assert sweep.shown(schedule) == before


def test_an_owner_who_has_used_its_key_is_told_once(api: Api, sweep: Sweep) -> None:
    tool = factories.tool()
    schedule = sweep.add(tool)
    key = "to_char((next_at - interval '3601 s') at time zone 'utc', :shape)"
    ((key_of_time,),) = plain(
        text(f"select 'schedule:' || id || ':' || {key} from schedules"), {"shape": 'YYYY-MM-DD"T"HH24:MI:SS"Z"'}
    )
    own = api.call(
        "POST", f"/tools/{tool.slug}/invoke", 202, json={"input": {}}, headers={"Idempotency-Key": key_of_time}
    )
    assert sweep.after(3600) == 1
    (told,) = sweep.refused()
    assert told["problem"]["code"] == "idempotency_key_reused"
    assert sweep.made() == [own.get_json()["data"]["id"]]
    assert sweep.shown(schedule)["last"]["problem"]["code"] == "idempotency_key_reused"
    assert sweep.fire() == 0
