"""Whatever happens to deliveries in whatever order, the table is what the model says: a state machine on PostgreSQL.

Events happen; workers take, end, give back, park, or die with what they hold; leases run out; owners disable, resend
and replay; those who were thought dead come back and write. Times are half a minute off whole minutes and pass in whole
minutes, so that the clock of a slow machine decides nothing.

`MODEL_EXAMPLES=2000 MODEL_STEPS=100 pytest tests/webhooks/test_model.py` runs it for longer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from common import boot, webhooks
from common.errors import Conflict
from common.identity.rate_limits import WEBHOOK_REPLAYS
from common.kit import clock
from common.webhooks import AttemptResult, Claim, LaneCapacity
from common.webhooks.schedule import MAX_TRIES
from tests.webhooks.conftest import happen, make_user, pass_time, sql

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "12"))
STEPS = int(os.environ.get("MODEL_STEPS", "40"))
HALF = 30
#: In one life, which may take less than the minute for which they are counted.
MOST_REPLAYS = WEBHOOK_REPLAYS.attempts
numbers = st.integers(0, 10**6)
lanes = st.integers(0, 1)
mostly = st.sampled_from([True, True, True, False])
ways = st.sampled_from(["ok", "ok", "later", "later", "later", "up", "gone", "none"])
#: Of those who took something, mostly one of the last.
recent = st.sampled_from([1, 1, 1, 1, 2, 2, 3, 5, 8])


@dataclass(eq=False)
class Row:
    """A delivery as it should be. `due` and `lease` are seconds on the model's clock; in flight: `token` is set."""

    lane: int
    due: int
    status: str = "pending"
    tries: int = 0
    parked: bool = False
    token: UUID | None = None
    lease: int | None = None
    attempts: int = 0

    def waits(self, now: int) -> bool:
        return self.status == "pending" and self.token is None and not self.parked and self.due <= now


@dataclass(eq=False)
class Receiver:
    id: UUID
    lane: int = 0
    enabled: bool = True
    failing_since: int | None = None


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        sql("delete from deliveries")
        sql("delete from webhook_endpoints")
        self.rows: dict[UUID, Row] = {}
        self.claims: list[Claim] = []
        self.now = self.replays = 0
        self.user_id = make_user()
        url = "http://127.0.0.1:9/"
        made = [webhooks.create(self.user_id, boot.outbound(), url=url, events=["budget.threshold"]) for _ in range(2)]
        self.receivers = [Receiver(each.endpoint.id) for each in made]

    # -- what happens ----------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 4))
    def happen(self, count: int) -> None:
        for _ in range(count):
            self.tell(happen(self.user_id))

    def tell(self, event_id: UUID) -> None:
        for row in sql("select id, lane, endpoint_id from deliveries where event_id = :id", id=event_id):
            receiver = next(each for each in self.receivers if each.id == row.endpoint_id)
            assert receiver.enabled
            receiver.lane = row.lane
            self.rows[row.id] = Row(row.lane, self.now)

    @rule(minutes=st.sampled_from([1, 6, 6, 60, 4000]))
    def pass_time(self, minutes: int) -> None:
        pass_time(f"{minutes} minutes")
        self.now += minutes * 60

    # -- workers ---------------------------------------------------------------------------------------------------

    @rule()
    def take(self) -> None:
        self.taken(webhooks.claim_next(), self.waiting(LaneCapacity()))

    def claimed(self, number: int) -> Claim | None:
        """One of the last that were taken, dead or alive. Steps do what they need, or most would be none."""
        if not any(self.rows[claim.id].token == claim.token for claim in self.claims[-3:]):
            self.happen(2)
            self.take()
        return self.claims[-min(number, len(self.claims))] if self.claims else None

    @rule(full=st.sets(lanes), only=st.none() | st.sets(lanes))
    def take_where_there_is_room(self, full: set[int], only: set[int] | None) -> None:
        room = LaneCapacity(self.lanes(full), None if only is None else self.lanes(only))
        self.taken(webhooks.claim_next(room), self.waiting(room))

    @rule(number=recent, take_next=mostly, successor=mostly, how=ways)
    def end(self, number: int, take_next: bool, successor: bool, how: str) -> None:
        """The end by whoever holds it, or by whoever was thought dead."""
        claim = self.claimed(number)
        if claim is None:
            return
        row, room = self.rows[claim.id], LaneCapacity(successors=None if successor else ()) if take_next else None
        held = row.token == claim.token
        waiting = self.waiting(LaneCapacity()) if held else []
        following = self.say(claim, how, room)
        brought = self.ended(row, how, successor=successor or not take_next) if held else None
        if room is None:
            assert following is None
        elif how == "gone":  # a statement of its own takes, and sees everything
            self.taken(following, self.waiting(LaneCapacity()))
        else:
            self.taken(following, waiting or ([brought] if brought else []))

    def say(self, claim: Claim, how: str, room: LaneCapacity | None) -> Claim | None:
        at = clock.now()
        if how == "ok":
            return webhooks.delivered(claim, AttemptResult(at, 5, 204), room)
        if how == "later":
            return webhooks.retry_later(claim, AttemptResult(at, 5, 500, "no"), 5 * 60 + HALF, room)
        if how == "gone":
            return webhooks.give_up(claim, AttemptResult(at, 5, 410, "gone"), room)
        return webhooks.give_up(claim, None if how == "none" else AttemptResult(at, 5, 500, "no"), room)

    def ended(self, row: Row, how: str, *, successor: bool) -> Row | None:
        """What follows from an end; → the parked row that it brought back."""
        row.status = {"ok": "delivered", "later": "pending"}.get(how, "failed")
        row.token = row.lease = None
        row.attempts += how != "none"
        row.due = self.now + 5 * 60 + HALF if how == "later" else row.due
        self.judge(row, how)
        parked = [each for each in self.rows.values() if each.parked and each.lane == row.lane]
        if not parked or not (successor or how == "gone"):
            return None
        found = self.oldest(parked)
        found.parked = False
        return found

    def judge(self, row: Row, how: str) -> None:
        for receiver in self.receivers:
            if receiver.lane == row.lane and receiver.enabled and how != "none":
                receiver.enabled = how != "gone"
                failed = receiver.failing_since if receiver.failing_since is not None else self.now
                receiver.failing_since = None if how == "ok" else failed

    @rule(number=recent)
    def give_back(self, number: int) -> None:
        if claim := self.claimed(number):
            webhooks.release(claim)
            row = self.rows[claim.id]
            if row.token == claim.token:
                row.token, row.lease, row.tries, row.parked = None, None, row.tries - 1, True

    @rule(full=st.sets(lanes, min_size=1))
    def park(self, full: set[int]) -> None:
        self.happen(1)
        wanted = [row for row in self.waiting(LaneCapacity()) if row.lane in self.lanes(full)]
        assert webhooks.park(self.lanes(full)) == len(wanted)
        for row in wanted:
            row.parked = True

    # -- sweeps ----------------------------------------------------------------------------------------------------

    @rule()
    def unpark(self) -> None:
        parked = [row for row in self.rows.values() if row.parked]
        while webhooks.unpark():  # eight of each lane at a time
            pass
        for row in parked:
            row.parked = False

    @rule()
    def expire(self) -> None:
        lost = [row for row in self.rows.values() if row.lease is not None and row.lease < self.now]
        assert webhooks.expire_leases() == len(lost)
        for row in lost:
            row.token = row.lease = None
            row.due, row.attempts = self.now, row.attempts + 1
            row.status = "pending" if row.tries < MAX_TRIES else "failed"

    @rule()
    def disable_failing(self) -> None:
        tried = {row.lane for row in self.rows.values() if row.status == "pending" and row.tries}
        limit = self.now - timedelta(days=5).total_seconds()
        doomed = [
            each for each in self.receivers
            if each.enabled and each.failing_since is not None and each.failing_since < limit and each.lane in tried
        ]  # fmt: skip
        assert webhooks.disable_failing() == len(doomed)
        for receiver in doomed:
            receiver.enabled = False

    # -- owners ----------------------------------------------------------------------------------------------------

    @rule(which=lanes, enabled=mostly)
    def switch(self, which: int, enabled: bool) -> None:
        receiver = self.receivers[which]
        status = "enabled" if enabled else "disabled"
        webhooks.change(self.user_id, receiver.id, boot.outbound(), status=status)
        receiver.enabled = enabled
        receiver.failing_since = None if enabled else receiver.failing_since

    @rule(number=numbers)
    def resend(self, number: int) -> None:
        if not self.rows:
            return
        delivery_id = list(self.rows)[number % len(self.rows)]
        row = self.rows[delivery_id]
        receiver = next(each for each in self.receivers if each.lane == row.lane)
        try:
            webhooks.resend(self.user_id, receiver.id, delivery_id)
        except Conflict:
            assert not receiver.enabled
            return
        assert receiver.enabled
        if row.token is None:
            self.again(row)

    @precondition(lambda self: self.replays < MOST_REPLAYS)
    @rule(which=lanes)
    def replay(self, which: int) -> None:
        self.replays += 1
        receiver = self.receivers[which]
        failed = [row for row in self.rows.values() if row.status == "failed" and row.lane == receiver.lane]
        if receiver.enabled:
            since = clock.now() - timedelta(days=20)
            replayed = webhooks.replay(self.user_id, receiver.id, since).replayed
            assert replayed == len(failed)
            for row in failed:
                self.again(row)

    def again(self, row: Row) -> None:
        row.status, row.due, row.tries, row.parked = "pending", self.now, 0, False

    # -- the model ---------------------------------------------------------------------------------------------------

    def lanes(self, which: Iterable[int]) -> list[int]:
        return [self.receivers[each].lane for each in which]

    def waiting(self, room: LaneCapacity) -> list[Row]:
        return [
            row for row in self.rows.values()
            if row.waits(self.now) and row.lane not in room.full and (room.only is None or row.lane in room.only)
        ]  # fmt: skip

    def oldest(self, rows: list[Row]) -> Row:
        """The one that is due first; of several, the one that PostgreSQL chose is not for a model to know."""
        first = min(row.due for row in rows)
        same = [row for row in rows if row.due == first]
        if len(same) == 1:
            return same[0]
        shown = {row.id: row for row in sql("select id, parked, token from deliveries")}
        return next(row for key, row in self.rows.items() if row in same and not shown[key].parked)

    def taken(self, claim: Claim | None, among: list[Row]) -> None:
        """One of those that were due first is in flight now, under a token of its own."""
        assert (claim is None) == (not among)
        if claim is None:
            return
        row = self.rows[claim.id]
        assert row in among
        assert row.due == min(each.due for each in among)
        row.tries += 1
        row.token, row.lease, row.parked = claim.token, self.now + HALF, False
        assert claim.tries == row.tries
        receiver = next(each for each in self.receivers if each.lane == row.lane)
        assert (claim.url is not None) == receiver.enabled
        self.claims.append(claim)

    @invariant()
    def the_table_is_the_model(self) -> None:
        counted = "(select count(*) from delivery_attempts a where a.delivery_id = d.id)"
        for row in sql(f"select d.*, {counted} as n from deliveries d"):
            model = self.rows[row.id]
            assert (row.status, row.tries, row.parked, row.token, row.n) == (
                model.status,
                model.tries,
                model.parked,
                model.token,
                model.attempts,
            )
        for receiver in self.receivers:
            row = webhooks.endpoint(self.user_id, receiver.id)
            failing = receiver.failing_since is not None
            assert (row.status == "enabled", row.failing_since is not None) == (receiver.enabled, failing)


def test_deliveries_are_what_the_model_says(db: None) -> None:
    limits = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(Machine, settings=limits)
