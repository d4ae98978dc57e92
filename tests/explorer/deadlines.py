"""Calls that have a deadline, or a moment before which they must not start: verbs, and what must hold of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from greenlet import greenlet
from sqlalchemy import text

from common import invocations
from common.invocations import ClaimOptions, sweeping
from tests import factories
from tests.plain import plain

#: Which calls of the start state wait for their moment, and which are past their deadline: one that no worker has had,
#: and one that waits to be tried again.
LATER, UNBEGUN, TRIED = "before-0", "before-3", "before-1"
#: The deadlines of these have passed.
_PASS = """
with gone as (
  update queue q set expires_at = least(q.expires_at, now()) from invocations i
   where i.id = q.id and (cast(:request as text) is null or i.metadata->>'request' = :request) returning q.id)
update invocations i set expires_at = least(i.expires_at, now()) from gone where gone.id = i.id
"""
#: The moment of whatever waits for one has come.
COME = """
with came as (
  update queue q set due_at = now() - interval '5 s' from invocations i where i.id = q.id and i.not_before > now()
  returning q.id)
update invocations i set not_before = now() from came where i.id = came.id
"""


def pass_by(request: str | None = None) -> None:
    """The deadline of a call, or of all, passes; nobody has noticed."""
    _by_itself(_PASS, request=request)


def _by_itself(statement: str, **parameters: object) -> None:
    """No process does it: a greenlet that is no actor, at whose exchanges nobody stops."""
    greenlet(lambda: plain(text(statement), parameters)).switch()


def put(world: Any) -> None:
    """A call that waits for its moment; one to be tried again and one that has a slot, both past their deadlines; and
    one in hand, whose deadline is far.
    """
    options = ClaimOptions(world.me.id)
    world.submit(LATER, not_before=_in_an_hour())
    world.submit(TRIED)
    invocations.retry_later(factories.taken(options), factories.BAD, 60.0, ClaimOptions(world.me.id, take_next=False))
    world.submit("before-2")
    world.task = factories.taken(options)
    world.submit(UNBEGUN)
    for request in (TRIED, UNBEGUN):
        pass_by(request)


def _in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


# -- verbs ---------------------------------------------------------------------------------------------------------


def expire(_world: Any, _name: str) -> None:
    sweeping.expire()


def time_is_up(_world: Any, _name: str) -> None:
    """All deadlines pass, and the sweep comes."""
    pass_by()
    sweeping.expire()


def let_go(_world: Any, _name: str) -> None:
    """The moment has come, and the sweep finds a slot for what has waited."""
    _by_itself(COME)
    sweeping.place_waiting([])


def submit_for_later(world: Any, name: str) -> None:
    world.submit(name, not_before=_in_an_hour())


VERBS = {"expire": expire, "time is up": time_is_up, "let go": let_go, "submit for later": submit_for_later}

# -- what must hold ------------------------------------------------------------------------------------------------

_BEGUN = b"""
select i.metadata->>'request', coalesce(i.not_before > b.at, false), b.at >= i.expires_at
  from (select invocation_id, started_at as at from attempts
        union all select invocation_id, created_at from events where type = 'invocation.running') b
  join invocations i on i.id = b.invocation_id where i.not_before > b.at or b.at >= i.expires_at
"""
_EARLY = b"""
select i.metadata->>'request' from queue q join invocations i on i.id = q.id
 where i.not_before > now() and (q.slot is not null or q.token is not null or q.due_at < i.not_before)
"""
_ENDED = b"""
select i.id, i.metadata->>'request', i.status, i.error_code, i.finished_at < i.expires_at, i.expires_at <= now(),
       i.started_at is not null, q.id is not null
  from invocations i left join queue q on q.id = i.id
"""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Those of the start state."""

    def again(self) -> Deadlines:
        return self

    def come(self, connection: psycopg.Connection[Any]) -> None:
        """What waits for its moment has waited for it."""
        connection.execute(COME.encode())

    def broken(self, connection: psycopg.Connection[Any], calls: Counter[UUID], *, settled: bool) -> list[str]:
        """What does not hold; `settled`: nothing is under way any more."""
        found = [
            f"{request} was begun" + " before its moment" * early + " after its deadline" * late
            for request, early, late in connection.execute(_BEGUN)
        ]
        found += [f"{request} is ready before its moment" for (request,) in connection.execute(_EARLY)]
        for id_, request, status, code, before, passed, started, waits in connection.execute(_ENDED):
            if status == "expired" and (before or started or calls[id_]):
                found.append(f"{request} expired: before its deadline {before}, begun {started}, calls {calls[id_]}")
            if settled and passed and waits:
                found.append(f"{request} waits past its deadline")
            if request == UNBEGUN and (calls[id_] or status not in ("open", "expired", "canceled")):
                found.append(f"{request} is {status} past its deadline, calls {calls[id_]}")
            if request == TRIED and (calls[id_] or (status, code) not in _OF_TRIED):
                found.append(f"{request} is {status} ({code}) past its deadline, calls {calls[id_]}")
        return found


#: It failed with what its last attempt ended with.
_OF_TRIED = {("open", None), ("failed", "tool_failed"), ("canceled", None)}
