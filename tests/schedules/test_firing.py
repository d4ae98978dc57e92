"""Each time is submitted exactly once, whatever dies, whoever else sweeps, and whatever the clock does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from common import budgets
from common.errors import ToolUnavailable
from common.identity import accounts
from common.identity.audit import OPERATOR, Actor
from common.kit import clock, failpoints
from common.kit import db as database
from common.kit import redis as redis_kit
from common.operations import account_deletion, ledger, polling
from common.settings import Settings
from common.tools import breakers, editing
from tests import factories
from tests.client import eventually
from tests.plain import plain
from tests.runs.conftest import Api, Json
from tests.runs.test_waiting import open_breaker
from tests.schedules.conftest import Died, Sweep, die
from tests.timing import once
from worker import sweeper

HOUR = timedelta(hours=1)
BEFORE, AFTER = "schedule.before_submit", "schedule.after_submit"


def at(shown: Any) -> datetime:
    return datetime.fromisoformat(shown)


def dies(point: str, fire: Callable[[], object]) -> None:
    with failpoints.calling(point, die), suppress(Died):
        fire()


def test_at_each_of_its_times(api: Api, sweep: Sweep) -> None:
    tool = factories.tool()
    schedule = sweep.add(
        tool, input={"n": 1}, metadata={"job": "nightly"}, max_tokens=5, webhook_url="http://127.0.0.1:9/x"
    )
    first = at(schedule["next_at"])
    assert first == at(schedule["created_at"]).replace(microsecond=0) + HOUR
    assert schedule["last"] is None
    assert sweep.fire() == 0, "it is not due"
    assert sweep.after(3601) == 1
    assert sweep.fire() == 0
    (made,) = sweep.made()
    shown, invocation = sweep.shown(schedule), api.get(f"/invocations/{made}")
    assert at(shown["next_at"]) == at(shown["last"]["at"]) + HOUR
    assert (shown["last"]["invocation_id"], shown["last"]["problem"]) == (made, None)
    assert (invocation["input"], invocation["metadata"]) == ({"n": 1}, {"job": "nightly"})
    assert (invocation["billing"]["held"], invocation["api_key_id"]) == (5, None)
    key = f"schedule:{schedule['id']}:{at(shown['last']['at']):%Y-%m-%dT%H:%M:%SZ}"
    assert [each["id"] for each in api.get(f"/invocations?idempotency_key={key}")] == [made]
    assert sweep.after(3600) == 1
    assert len(sweep.made()) == 2
    assert ledger.verify().differences == ()


def test_the_sweep_of_every_worker_does_it_without_beat(api: Api, sweep: Sweep, settings: Settings) -> None:
    sweeper.configure(settings)
    sweep.add()
    database.rowcount(text("update schedules set next_at = now(), due_at = now()"), {})
    sweeper.every_second(polling.look(clock.uuid7()), 1)
    eventually("it is fired", 20, lambda: len(sweep.made()) == 1)


def test_a_heartbeat_does_not_wait_for_a_submit(api: Api, sweep: Sweep, settings: Settings) -> None:
    """An input that is checked for long, or waits for its turn to be."""
    sweeper.configure(settings)
    sweep.add()
    database.rowcount(text("update schedules set next_at = now(), due_at = now()"), {})
    began, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        go_on.wait(20)

    with failpoints.calling(BEFORE, hang):
        sweeper.every_second(polling.look(clock.uuid7()), 1)
        assert began.wait(20)
        sweeper.every_second(polling.look(clock.uuid7()), 1)
        assert sweep.made() == []
        go_on.set()
        eventually("it is fired", 20, lambda: len(sweep.made()) == 1)


@pytest.mark.parametrize("point", [BEFORE, "web.before_commit", "web.after_commit", AFTER])
def test_whoever_dies_another_sweep_makes_it_once(sweep: Sweep, point: str) -> None:
    schedule = sweep.add()
    dies(point, lambda: sweep.after(3601))
    assert sweep.shown(schedule)["last"] is None
    assert sweep.fire() == 0, "left to the first for a moment"
    dies(point, sweep.later)
    sweep.later()
    shown = sweep.shown(schedule)
    assert sweep.made() == [shown["last"]["invocation_id"]]
    assert at(shown["next_at"]) == at(shown["last"]["at"]) + HOUR
    assert sweep.fire() == 0
    budgets.free_orphans(older_than=-1)
    assert ledger.verify().differences == ()


def forget_redis(_api: Api, _schedule: Json) -> None:
    redis_kit.client().flushall()


def change_input(api: Api, schedule: Json) -> None:
    api.call("PATCH", f"/schedules/{schedule['id']}", json={"input": {"other": 1}, "max_tokens": 3})


def change_tool(_api: Api, schedule: Json) -> None:
    editing.change(OPERATOR, schedule["tool"]["id"], {"input_schema": {"type": "object", "required": ["new"]}})


def archive_tool(_api: Api, schedule: Json) -> None:
    editing.archive(OPERATOR, schedule["tool"]["id"])


def disable(api: Api, _schedule: Json) -> None:
    database.rowcount(text("update users set is_active = false where id = :id"), {"id": api.customer.user_id})


def enable(api: Api) -> None:
    database.rowcount(text("update users set is_active = true where id = :id"), {"id": api.customer.user_id})


@pytest.mark.parametrize("change", [forget_redis, change_input, change_tool, archive_tool, disable])
def test_what_was_submitted_is_found_whatever_has_changed_since(
    api: Api, sweep: Sweep, change: Callable[[Api, Json], None]
) -> None:
    schedule = sweep.add()
    dies(AFTER, lambda: sweep.after(3601))
    change(api, schedule)
    assert sweep.later() == 1
    enable(api)
    assert sweep.made() == [sweep.shown(schedule)["last"]["invocation_id"]]
    assert sweep.refused() == []


def test_two_that_sweep_at_once(sweep: Sweep) -> None:
    """The first is frozen right before its submit (or after), and the second takes it for dead."""
    for point in (BEFORE, AFTER):
        schedule = sweep.add()
        with failpoints.calling(point, once(sweep.later)):
            sweep.after(3601, of=schedule)
        last = sweep.shown(schedule)["last"]
        assert sweep.made()[-1] == last["invocation_id"]
    assert len(sweep.made()) == 2
    assert sweep.refused() == []


def test_many_that_sweep_many(api: Api, sweep: Sweep) -> None:
    tool = factories.tool()
    made = [sweep.add(tool) for _ in range(12)]
    sweep.after(3601)
    for _ in range(2):
        database.rowcount(text("update schedules set next_at = next_at - interval '1 h', due_at = now()"), {})
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: sweep.later(), range(4)))
    assert {bool(sweep.shown(each)["last"]["invocation_id"]) for each in made} == {True}
    keys = plain(text("select count(*) as n, count(distinct key) as keys from idempotency_keys"), {})[0]
    assert (keys.n, keys.keys) == (len(sweep.made()), len(sweep.made()))
    assert sweep.refused() == []


# -- times that were missed, and clocks ------------------------------------------------------------------------------


def test_of_what_was_missed_the_last_is_made_up_once(sweep: Sweep) -> None:
    for seconds, every in ((1800, 60), (30 * 86_400, 3600), (365 * 86_400, 60), (3500, 7200)):
        schedule = sweep.add(every_seconds=every)
        before = len(sweep.made())
        assert sweep.after(every + seconds, of=schedule) == 1
        assert sweep.fire() == 0
        shown = sweep.shown(schedule)
        assert len(sweep.made()) == before + 1, (seconds, every)
        assert shown["last"]["problem"] is None
        assert at(shown["next_at"]) == at(shown["last"]["at"]) + timedelta(seconds=every)
    assert sweep.refused() == []


def test_what_is_an_hour_old_is_not_made_up(api: Api, sweep: Sweep) -> None:
    schedule = sweep.add(every_seconds=86_400)
    assert sweep.after(86_400 + 3_600) == 1
    assert sweep.made() == []
    shown = sweep.shown(schedule)
    (told,) = sweep.refused()
    assert (told["schedule_id"], told["at"]) == (schedule["id"], shown["last"]["at"])
    assert told["problem"] == shown["last"]["problem"]
    assert told["problem"]["code"] == "dependency_unavailable"
    assert at(shown["next_at"]) == at(shown["last"]["at"]) + timedelta(days=1)
    assert sweep.after(82_800) == 1
    assert len(sweep.made()) == 1, "it goes on"


def test_a_clock_that_jumps_does_not_fire_twice(sweep: Sweep) -> None:
    """Forward by three hours, and back again: what has fired does not fire once more when its time comes again."""
    schedule = sweep.add()
    assert sweep.after(3600 + 3 * 3600) == 1
    database.rowcount(text("update schedules set next_at = last_at, due_at = last_at"), {})
    assert sweep.fire() == 1
    assert sweep.made() == [sweep.shown(schedule)["last"]["invocation_id"]]
    sweep.after(-6 * 3600)
    assert sweep.fire() == 0, "it waits until the clock is there again"
    assert len(sweep.made()) == 1


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("happens", "code"),
    [(change_tool, "tool_input_rejected"), (archive_tool, "not_found"), (disable, "account_disabled")],
)
def test_a_refusal_is_an_event_and_the_schedule_goes_on(
    api: Api, sweep: Sweep, happens: Callable[[Api, Json], None], code: str
) -> None:
    schedule = sweep.add()
    happens(api, schedule)
    assert sweep.after(3601) == 1
    assert sweep.fire() == 0
    enable(api)
    shown = sweep.shown(schedule)
    assert (shown["last"]["invocation_id"], shown["last"]["problem"]["code"]) == (None, code)
    assert at(shown["next_at"]) == at(shown["last"]["at"]) + HOUR
    (told,) = sweep.refused()
    wanted = {"schedule_id": schedule["id"], "tool": schedule["tool"]["slug"], "at": shown["last"]["at"]}
    assert told == {**wanted, "problem": shown["last"]["problem"]}
    assert sweep.made() == []


def test_a_budget_that_does_not_cover_it(api: Api, sweep: Sweep) -> None:
    poor = api.of(factories.customer(15))
    sweep = Sweep(poor)
    hook = poor.post("/webhooks", {"url": "http://127.0.0.1:9/hook", "events": ["schedule.refused"]}, 201)
    schedule = sweep.add()
    assert sweep.after(3601) == sweep.after(3600) == 1
    problem = sweep.shown(schedule)["last"]["problem"]
    assert (problem["code"], problem["required"], problem["available"]) == ("budget_exhausted", 10, 5)
    assert at(problem["resets_at"])
    assert [each["event_type"] for each in poor.get(f"/webhooks/{hook['id']}/deliveries")] == ["schedule.refused"]
    assert len(sweep.made()) == 1
    assert ledger.verify().differences == ()


def test_an_address_that_has_to_be_verified(sweep: Sweep) -> None:
    database.rowcount(text("update users set email_verified_at = null"), {})
    schedule = sweep.add()
    sweep.after(3601)
    assert len(sweep.made()) == 1
    database.rowcount(text("update schedules set next_at = now(), due_at = now()"), {})
    sweep.fire(verified_only=True)
    assert sweep.shown(schedule)["last"]["problem"]["code"] == "email_not_verified"


# -- failures that pass ----------------------------------------------------------------------------------------------


def test_what_is_a_matter_of_time_is_tried_again(api: Api, sweep: Sweep) -> None:
    tool = factories.tool()
    schedule = sweep.add(tool)
    open_breaker(tool.id)
    assert sweep.after(3601) == 0
    shown = sweep.shown(schedule)
    assert shown["last"]["problem"]["code"] == "tool_unavailable"
    assert shown["next_at"] == shown["last"]["at"], "it is still to come"
    assert sweep.fire() == 0, "not at once"
    breakers.close(tool.id)
    assert sweep.later() == 1
    assert sweep.shown(schedule)["last"] == {"at": shown["next_at"], "invocation_id": sweep.made()[0], "problem": None}
    assert sweep.refused() == []


def test_given_up_after_an_hour_or_when_the_next_time_comes(api: Api, sweep: Sweep) -> None:
    tool = factories.tool()
    rare, frequent = sweep.add(tool, every_seconds=7200), sweep.add(tool, every_seconds=600)
    open_breaker(tool.id)
    assert sweep.after(7201, of=rare) == sweep.after(601, of=frequent) == 0
    assert sweep.refused() == []
    with suppress(ToolUnavailable):
        open_breaker(tool.id)
    sweep.after(3600, of=rare)
    sweep.after(600, of=frequent)
    told = {each["schedule_id"]: each for each in sweep.refused()}
    assert {each["problem"]["code"] for each in told.values()} == {"tool_unavailable"}
    assert told.keys() == {rare["id"], frequent["id"]}
    shown = sweep.shown(frequent)
    assert at(shown["next_at"]) == at(shown["last"]["at"]), "the later one is tried now"
    breakers.close(tool.id)
    assert sweep.later() == 1
    assert len(sweep.made()) == 1
    assert len(sweep.refused()) == 2


# -- owners who change their mind meanwhile --------------------------------------------------------------------------


def test_what_is_changed_while_it_fires(api: Api, sweep: Sweep) -> None:
    def path(schedule: Json) -> str:
        return f"/schedules/{schedule['id']}"

    paused, moved, deleted = (sweep.add() for _ in range(3))
    with failpoints.calling(AFTER, once(lambda: api.call("PATCH", path(paused), json={"paused": True}))):
        sweep.after(3601, of=paused)
    with failpoints.calling(AFTER, once(lambda: api.call("PATCH", path(moved), json={"every_seconds": 86_400}))):
        sweep.after(3601, of=moved)
    with failpoints.calling(AFTER, once(lambda: api.call("DELETE", path(deleted), 204))):
        sweep.after(3601, of=deleted)
    first, second, _ = sweep.made()
    assert (sweep.shown(paused)["next_at"], sweep.shown(paused)["last"]["invocation_id"]) == (None, first)
    assert sweep.shown(moved)["last"]["invocation_id"] == second
    assert at(sweep.shown(moved)["next_at"]) > at(sweep.shown(moved)["last"]["at"]) + 23 * HOUR
    assert sweep.fire() == 0


def test_a_pause_is_not_made_up(api: Api, sweep: Sweep) -> None:
    schedule = sweep.add()
    api.call("PATCH", f"/schedules/{schedule['id']}", json={"paused": True})
    assert sweep.after(7200) == 0
    resumed = api.call("PATCH", f"/schedules/{schedule['id']}", json={"paused": False}).get_json()["data"]
    assert at(resumed["next_at"]) > at(resumed["updated_at"])
    assert sweep.fire() == 0
    assert sweep.after(3600) == 1
    assert len(sweep.made()) == 1


def test_an_account_that_is_deleted_takes_them_along(api: Api, sweep: Sweep) -> None:
    sweep.add()
    user_id = api.customer.user_id

    def leave() -> None:
        account_deletion.close(accounts.get(user_id), actor=Actor("session", user_id))

    with failpoints.calling(BEFORE, once(leave)):
        sweep.after(3601)
    assert plain(text("select id from schedules"), {}) == []
    assert sweep.made() == [], "not even the one that was under way"
    assert sweep.fire() == 0


def test_one_that_cannot_be_read_does_not_stop_the_others(api: Api, sweep: Sweep) -> None:
    broken, whole = sweep.add(cron="0 * * * *"), sweep.add()
    database.rowcount(text("update schedules set timezone = 'Atlantis/Center' where id = :id"), {"id": broken["id"]})
    database.rowcount(
        text("update schedules set next_at = now(), due_at = now() - interval '1 s' where id = :id"),
        {"id": broken["id"]},
    )
    assert sweep.after(3601, of=whole) == 1
    assert sweep.shown(whole)["last"]["invocation_id"] == sweep.made()[0]
