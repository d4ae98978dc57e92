"""What falls due by itself: a schedule's time, and a grant's end. Start states, verbs, and what must hold of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from greenlet import getcurrent
from sqlalchemy import text

from common import boot, subscriptions
from common.errors import NotFound, TokenRevoked
from common.identity.audit import Actor
from common.invocations import SubmitRules, schedules
from common.kit import failpoints
from common.kit.outbound import OutboundClient
from common.tools import ListedTool
from tests.explorer.director import Died
from tests.factories import Customer
from tests.plain import plain
from tests.subscriptions import accounts

#: How an invocation of the schedule is named among the requests of clients.
REQUEST = "scheduled"
#: Whoever is firing a schedule is given up.
_LEASES_END = "update schedules set due_at = next_at where due_at > next_at"
#: A schedule whose time came half an hour ago, whenever its start state is put back.
DUE = """
update schedules set counted_from = date_trunc('minute', now()) - interval '1 d 30 min',
                     next_at = date_trunc('minute', now()) - interval '30 min',
                     due_at = date_trunc('minute', now()) - interval '30 min'
"""
#: The next time has come, and what was tried for this one in vain was noted.
_NEXT_CAME = """
update schedules set every_seconds = 1500, counted_from = next_at - interval '1500 s', last_at = next_at,
                     last_invocation_id = null, last_problem = '{"code": "dependency_unavailable"}'
 where next_at <= now()
"""


# -- a schedule ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Appointment:
    """A schedule of every day."""

    id: UUID
    customer: Customer
    outbound: OutboundClient

    @classmethod
    def make(cls, customer: Customer, tool: ListedTool) -> Appointment:
        outbound = boot.outbound()
        made = schedules.create(
            customer.caller,
            outbound,
            tool=tool.slug,
            input={},
            every_seconds=86_400,
            timezone="UTC",
            webhook_url=None,
            metadata={"request": REQUEST},
            max_tokens=None,
            paused=False,
        )
        plain(text(DUE), {})
        return cls(made.id, customer, outbound)

    def fire(self) -> None:
        schedules.fire_due(SubmitRules(self.outbound, verified_only=False))


def fire(world: Any, _name: str) -> None:
    world.appointment.fire()


def fire_after(world: Any, _name: str) -> None:
    """Another sweep, to which the first one is dead."""
    plain(text(_LEASES_END), {})
    world.appointment.fire()


def fire_next(world: Any, name: str) -> None:
    """Another sweep, which comes to a time that was postponed when the next one has come."""
    plain(text(_NEXT_CAME), {})
    fire_after(world, name)


def spend_and_fire(world: Any, name: str) -> None:
    """The budget was used up a moment ago."""
    world.submit(name)
    world.appointment.fire()


def pay_and_fire(world: Any, name: str) -> None:
    """There is budget again, and another sweep submits and dies before it has noted that."""
    subscriptions.grant(world.customer.user_id, 10, reason="more", actor=world.admin)
    me = getcurrent()

    def die() -> None:
        if getcurrent() is me:
            raise Died

    with failpoints.calling("schedule.after_submit", die):
        fire_after(world, name)


def pause(world: Any, _name: str) -> None:
    with suppress(NotFound, TokenRevoked):
        schedules.change(world.customer.caller, world.appointment.id, world.appointment.outbound, paused=True)


def drop(world: Any, _name: str) -> None:
    with suppress(NotFound):
        schedules.remove(world.customer.user_id, world.appointment.id)


#: After one of these, nothing need come of the time that was due.
_WITHDRAWN = {"pause", "drop", "leave"}
_AT = """to_char(%s at time zone 'utc', 'YYYYMMDD"T"HH24MISS"Z"')"""
#: Of each time: how many invocations, whether all of them came before those of later times, and how many refusals.
_CAME_OF_IT = f"""
with came as (
  select right(request_id, 16) as at, created_at as made_at, false as refused from invocations
   where metadata->>'request' = %(request)s
  union all
  select {_AT % "(data->>'at')::timestamptz"}, null, true from events where type = 'schedule.refused')
select at, count(made_at), count(*) filter (where refused),
       coalesce(max(made_at) <= min(min(made_at)) over (order by at rows between 1 following and unbounded following),
                true)
  from came group by at
"""
_DUE = "select count(*) from schedules where next_at <= now()"
_NOTED = f"""
select s.last_invocation_id is not distinct from i.id, s.last_problem is null, i.id is null
  from schedules s left join invocations i on i.request_id = 'schedule-' || s.id || '-' || {_AT % "s.last_at"}
"""


def unkept(appointment: Appointment, connection: psycopg.Connection[Any], verbs: set[str]) -> list[str]:
    """What is wrong once every sweep that died is given up, and others have fired what was left."""
    for _ in range(3):
        connection.execute(_LEASES_END.encode())
        appointment.fire()
    ((due,),) = connection.execute(_DUE.encode()).fetchall()
    times = connection.execute(_CAME_OF_IT.encode(), {"request": REQUEST}).fetchall()
    found = [f"a time was not dealt with ({due})"] if due else []
    for at, made, refused, in_order in times:
        if made + refused > 1:
            found.append(f"{made} invocations of the time {at}, {refused} times told that nothing came of it")
        if not in_order:
            found.append(f"the time {at} was submitted after a later one had taken its place")
    if not verbs & _WITHDRAWN:
        found += [] if times else ["nothing came of a time, and nobody was told"]
        for same, unhindered, nothing in connection.execute(_NOTED.encode()):
            if not same or unhindered == nothing:
                found.append("the schedule does not say what came of its time")
    return found


# -- a grant that expires ------------------------------------------------------------------------------------------


def granted_for_a_day(customer: Customer, tokens: int, actor: Actor) -> UUID:
    """A grant that expires; returns its id."""
    later = datetime.now(UTC) + timedelta(days=1)
    return subscriptions.grant(customer.user_id, tokens, reason="for a day", actor=actor, expires_at=later).id


def is_over(grant_id: UUID) -> None:
    """The day is over, and nobody has noticed."""
    accounts.expire(grant_id)


def settle_expiries(_world: Any, _name: str) -> None:
    subscriptions.settle_remainders()


#: After one of these the grant's period is not the account's any more; the books of both must still be right.
_OVER = {"period end", "unsubscribe", "leave"}
_EXPIRED = """
select g.tokens,
       coalesce((select -sum(e.tokens) from grants e where e.kind = 'expiry' and e.source_id = g.id), 0)::bigint,
       coalesce((select sum(i.charged) from invocations i where i.created_at < g.expires_at), 0)::bigint,
       (select sum(o.tokens) from grants o where o.period_id = g.period_id and o.kind <> 'expiry')::bigint,
       coalesce((select sum(i.charged) from invocations i where i.period_id = g.period_id), 0)::bigint
  from grants g where g.id = %(grant)s
"""


def misexpired(grant: UUID, connection: psycopg.Connection[Any], verbs: set[str]) -> list[str]:
    """What is wrong once nothing is open and the beat has booked all expiries.

    What was used before the grant's end is used of it. The rest is taken off, but for what was spent all the same
    before anybody had booked it.
    """
    subscriptions.settle_remainders()
    found = []
    for tokens, expired, used_before, granted, charged in connection.execute(_EXPIRED.encode(), {"grant": grant}):
        owed = max(0, min(tokens - used_before, granted - charged))
        if expired > owed or (expired < owed and not verbs & _OVER):
            found.append(f"{expired} of a grant of {tokens} expired instead of {owed}")
    return found


WITH_SCHEDULE = {
    "fire": fire,
    "fire after": fire_after,
    "fire next": fire_next,
    "spend+fire": spend_and_fire,
    "pay+fire": pay_and_fire,
    "pause": pause,
    "drop": drop,
}
WITH_EXPIRY = {"expire grants": settle_expiries}
VERBS = {**WITH_SCHEDULE, **WITH_EXPIRY}
