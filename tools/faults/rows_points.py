"""B0: every failpoint of the code in turn, also those that the load alone never reaches."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

import psycopg

from common.kit import failpoints
from tools.faults.load import Account, Client
from tools.faults.people import PLAN, REFUSING, join, plan
from tools.faults.rows import row
from tools.faults.rows_workers import client, expect
from tools.faults.world import Violation, World, is_gone

#: (A spent refresh token has a row of its own, F71; no tool of this load streams: tests/runs/test_stream_kills.py.)
POINTS: Final = tuple(
    point for point in failpoints.POINTS if point != "refresh.after_consume" and not point.startswith("stream.")
)
ACTIONS: Final = ("kill9", "term", "stop:3", "raise")
#: What fails there fails a request: made to, it answers 500, and that is right.
IN_WEB: Final = (
    *("web.before_commit", "web.after_commit", "web.after_publish", "change.checked"),
    *("cancel.before_queued", "cancel.before_running", "rebuild.after_read", "web.before_call"),
)
WITHIN_SECONDS: Final = 180
#: A schedule of an account of its own, made due once the last time was dealt with, for another second than that.
_FALL_DUE: Final = """
update schedules set next_at = date_trunc('second', clock_timestamp()), due_at = date_trunc('second', clock_timestamp())
 where user_id = %s and next_at > clock_timestamp() + interval '1 h'
   and (last_at is null or last_at < date_trunc('second', clock_timestamp()))
"""
_STATE: Final = "select next_at, due_at, last_at, last_problem, now() from schedules where user_id = %s"
#: (The id of the request names the schedule and the time.)
_FIRED: Final = "select count(*), count(distinct request_id) from invocations where user_id = %s"
#: (A time that was refused has taken the key of its submit.)
_REFUSED: Final = (
    "select count(*), count(distinct key) from idempotency_keys where user_id = %s and invocation_id is null"
)


@row("B0", "every named point of the code, in turn: killed, ended, frozen for 3 s, made to fail", rate=12, settle=300)
def every_point(world: World) -> str:
    timetable, refused = Timetable(world, PLAN, _FIRED), Timetable(world, _without_budget(), _REFUSED)
    provoked: dict[str, Callable[[], object]] = {
        "rebuild.after_read": world.gate().flushall,
        "change.checked": partial(_change, client(world), world.accounts[0]),
        "web.before_call": partial(_call, client(world), world.accounts[0]),
        "schedule.before_submit": timetable.fall_due,
        "schedule.after_submit": timetable.fall_due,
        "schedule.before_giving_up": refused.fall_due,
    }
    strikes = [(point, action) for point in POINTS for action in ACTIONS if action != "raise" or point not in IN_WEB]
    for point, action in strikes:
        file = world.arm(point, action)
        try:
            came = partial(_came, file_gone=partial(is_gone, file), provoke=provoked.get(point))
            world.wait_until(f"somebody at {point}", came, WITHIN_SECONDS)
        finally:
            file.unlink(missing_ok=True)
    timetable.close()
    refused.close()
    return f"{len(POINTS)} points, {len(strikes)} strikes, one after the other, while everything else goes on"


def _came(file_gone: Callable[[], bool], provoke: Callable[[], object] | None) -> bool:
    if provoke is not None and not file_gone():
        provoke()
        time.sleep(0.3)
    return file_gone()


def _change(asking: Client, account: Account) -> None:
    """An endpoint is changed to what it is."""
    asking.ask("change", account, "PATCH", f"/webhooks/{account.endpoint_id}", json={"events": ["completed"]})


def _call(asking: Client, account: Account) -> None:
    """A client that counts its repeats calls a model; it is refused then, and nothing is to be remembered of it."""
    counted, body = {"X-Stainless-Retry-Count": "0"}, {"model": REFUSING, "messages": []}
    asking.ask("call", account, "POST", "/v1/chat/completions", json=body, headers=counted)


def _without_budget() -> str:
    """A plan of one token, which pays for no call."""
    slug = f"penniless-{int(time.time())}"
    plan(slug, 1, 1)
    return slug


class Timetable:
    """A schedule that falls due when it is told to; each of its times must come to one thing.

    `ended` counts what came of them: invocations, or refusals where the plan pays for none.
    """

    def __init__(self, world: World, plan_slug: str, ended: str) -> None:
        self._world, self._ended = world, ended
        self._account = join(int(time.time()), world.hook_url, plan_slug)
        self._client = client(world)
        body = {"tool": "echo", "input": {"text": "again"}, "every_seconds": 86_400}
        answer, said = self._client.ask("schedule", self._account, "POST", "/schedules", json=body)
        expect(answer == "201", f"a schedule: {answer} {said}")
        self._path = f"/schedules/{said['data']['id']}"
        self._times = 0

    def fall_due(self) -> None:
        """Make it due, unless it is due already."""
        with psycopg.connect(self._world.postgres.url(), connect_timeout=10, autocommit=True) as connection:
            self._times += connection.execute(_FALL_DUE, (self._account.user_id,)).rowcount

    def close(self) -> None:
        """Once everything was dealt with: as much came of it as there were times."""
        try:
            self._world.wait_until("the last time to be dealt with", self._all_ended, WITHIN_SECONDS)
        except Violation as error:
            ended, state = (self._world.rows(query, self._account.user_id) for query in (self._ended, _STATE))
            raise Violation(f"{error}: {ended} of {self._times}; {state}") from None
        answer, said = self._client.ask("schedule", self._account, "DELETE", self._path)
        expect(answer == "204", f"a schedule cannot be deleted: {answer} {said}")

    def _all_ended(self) -> bool:
        ended, times = self._world.rows(self._ended, self._account.user_id)[0]
        expect(ended == times <= self._times, f"{ended} came of {times} among {self._times} times")
        return bool(ended == self._times)
