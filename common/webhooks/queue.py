# ruff: noqa: S608  (the statements are put together from constants)
"""Who is told next: `deliveries` is the queue, and this is everything that may happen to a row of it.

    waiting ──take──▶ in flight ──delivered──▶ delivered        waiting: due_at says when
       ▲  ▲               │ │                                   in flight: a token and a lease
       │  └──retry_later──┘ └──give_up──▶ failed                parked: its lane is full
       └─────parked ◀─── park, give_back

Each step is one statement, its own transaction, fenced by the claim's token; an attempt is written together with what
follows from it. What ends a delivery takes the next one, so that a busy sender makes one round trip per delivery. The
next is whatever is due first in a lane that has room (`Room`); rows of lanes without room are parked so that nobody
steps over them twice, and come back one by one as their lane's deliveries end, or by the sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Row, TextClause, text

from common.kit import db, log
from common.queueing import messages
from common.webhooks.model import Attempt, Claim, Encrypted, Event
from common.webhooks.schedule import MAX_TRIES

logger = log.get(__name__)

#: An attempt takes 15 s at most; a process that is silent for so long has died, or will find its token gone.
LEASE: Final = timedelta(seconds=30)
FAILING_LIMIT: Final = timedelta(days=5)
BATCH: Final = 500
#: The sweep brings back so many parked rows of a lane at once.
UNPARK: Final = 8


@dataclass(frozen=True, slots=True)
class Room:
    """What this process may take now: no lane in `full`; when `only` is given, no lane outside it either.

    `successor`: whether the lane of the delivery that ends may have its next one at once.
    """

    full: Sequence[int] = ()
    only: Sequence[int] | None = None
    successor: bool = True


# -- statements ------------------------------------------------------------------------------------------------

_DUE = "status = 'pending' and lease_until is null and not parked and due_at <= now()"

_NEXT = f"""
  select id from deliveries
   where {_DUE} and lane <> all(cast(:full as bigint[]))
     and (cast(:only as bigint[]) is null or lane = any(cast(:only as bigint[])))
"""

_TAKEN = f"token = cast(:next_token as uuid), lease_until = now() + interval '{LEASE.seconds} seconds'"

_CLAIM = """
       t.id as claim, t.token, t.lane, t.tries, t.endpoint_id, coalesce(t.url, w.url) as url,
       coalesce(w.secret, s.secret) as secret,
       case when w.previous_until > now() then w.previous_secret
            when s.previous_until > now() then s.previous_secret end as previous_secret,
       w.failing_since is not null as failing,
       e.id, e.user_id, e.type, e.invocation_id, e.data, e.attempts, e.created_at
"""

_CLAIM_JOINS = """
  left join events e on e.id = t.event_id
  left join webhook_endpoints w on w.id = t.endpoint_id and w.status = 'enabled'
  left join webhook_default_secrets s on t.endpoint_id is null and s.user_id = t.user_id
"""

_TAKE: Final = text(f"""
with n as ({_NEXT} order by due_at limit 1 for update skip locked),
t as (update deliveries d set {_TAKEN}, tries = tries + 1 from n where d.id = n.id returning d.*)
select {_CLAIM}, exists (select 1 from deliveries where {_DUE} and id <> t.id) as more from t {_CLAIM_JOINS}
""")

_ATTEMPT_COLUMNS = "delivery_id, n, at, http_status, duration_ms, error, response_excerpt"
_N = "(select coalesce(max(n), 0) + 1 from delivery_attempts p where p.delivery_id = d.id)"

#: The owner hears of it in the same transaction.
_MAIL = """
m as (
  insert into mails (id, template, recipient, data)
  select uuid7(), 'endpoint_disabled', u.email,
         jsonb_build_object('url', w.url, 'reason', case w.disabled_reason
           when 'gone' then 'it answered 410 Gone' else 'it took nothing for five days' end)
    from w join users u on u.id = w.user_id where w.disabled_reason is not null)
"""

#: `n` and `h` read `d`, so the end comes first, and a worker whose token is gone takes nothing.
_END = f"""
d as materialized (
  update deliveries
     set status = cast(:status as text), token = null, lease_until = null,
         finished_at = case when cast(:status as text) <> 'pending' then now() end,
         due_at = case when cast(:status as text) <> 'pending' then due_at
                       else now() + make_interval(secs => cast(:delay as double precision)) end
   where id = :id and token = :token
  returning id, lane, endpoint_id),
a as (
  insert into delivery_attempts ({_ATTEMPT_COLUMNS})
  select d.id, {_N}, cast(:at as timestamptz), cast(:http_status as smallint), cast(:duration_ms as integer),
         cast(:error as text), cast(:response_excerpt as text)
    from d where cast(:at as timestamptz) is not null),
w as (
  update webhook_endpoints x
     set failing_since = case when cast(:verdict as text) <> 'ok' then coalesce(x.failing_since, now()) end,
         status = case when cast(:verdict as text) = 'gone' then 'disabled' else x.status end,
         disabled_reason = case when cast(:verdict as text) = 'gone' then 'gone' end,
         updated_at = now()
    from d
   where x.id = d.endpoint_id and x.status = 'enabled'
     and case cast(:verdict as text) when 'ok' then x.failing_since is not null
                                     when 'failed' then x.failing_since is null else cast(:verdict as text) = 'gone' end
  returning x.id, x.user_id, x.url, x.disabled_reason),
{_MAIL}
"""

_SUCCESSOR = """
  select id from deliveries
   where parked and lane = (select lane from d) {condition} order by due_at limit 1 for update skip locked
"""

_END_ONLY: Final = text(f"""
with {_END},
h as ({_SUCCESSOR.format(condition="")}),
t as (update deliveries x set parked = false from h where x.id = h.id)
select true as ended from d
""")

#: With nothing else due, the lane's own next delivery is taken at once: this statement cannot see it as waiting.
_END_AND_TAKE: Final = text(f"""
with {_END},
n as ({_NEXT} and exists (select 1 from d) order by due_at limit 1 for update skip locked),
h as ({_SUCCESSOR.format(condition="and cast(:successor as boolean)")}),
y as (select id, true as taken from n union all select id, not exists (select 1 from n) from h),
t as (
  update deliveries x
     set parked = false, tries = x.tries + y.taken::integer,
         token = case when y.taken then cast(:next_token as uuid) end,
         lease_until = case when y.taken then now() + interval '{LEASE.seconds} seconds' end
    from y where x.id = y.id
  returning x.*)
select {_CLAIM} from d join t on t.token is not null {_CLAIM_JOINS}
""")

_GIVE_BACK: Final = text("""
update deliveries set token = null, lease_until = null, tries = tries - 1, parked = true
 where id = :id and token = :token
""")

_POSTPONE: Final = text("""
update deliveries
   set token = null, lease_until = null, tries = tries - 1, due_at = now() + make_interval(secs => :delay)
 where id = :id and token = :token
""")

#: Only the front of the queue is looked at: what lies behind it is in nobody's way yet.
_PARK: Final = text(f"""
with front as (select id, lane from deliveries where {_DUE} order by due_at limit {BATCH}),
p as (
  select d.id from deliveries d join front f on f.id = d.id
   where f.lane = any(cast(:full as bigint[])) and d.lease_until is null for update of d skip locked)
update deliveries d set parked = true from p where d.id = p.id and d.status = 'pending' and d.lease_until is null
""")

#: The lanes that have parked rows, one index probe each.
_ALL_LANES = """
with recursive lanes as (
  (select lane from deliveries where parked order by lane limit 1)
  union all
  select (select d.lane from deliveries d where d.parked and d.lane > l.lane order by d.lane limit 1)
    from lanes l where l.lane is not null)
"""
_OLDEST = f"""
p as (
  select x.id from lanes l cross join lateral (
    select id from deliveries where parked and lane = l.lane order by due_at limit {UNPARK} for update skip locked) x)
update deliveries d set parked = false from p where d.id = p.id
"""
_UNPARK: Final = text(f"{_ALL_LANES}, {_OLDEST}")
_UNPARK_LANES: Final = text(f"with lanes as (select unnest(cast(:lanes as bigint[])) as lane), {_OLDEST}")

_EXPIRE: Final = text(f"""
with x as (
  select id, lease_until from deliveries where lease_until < now()
   order by lease_until limit {BATCH} for update skip locked),
d as (
  update deliveries v
     set token = null, lease_until = null, due_at = now(),
         status = case when v.tries < {MAX_TRIES} then 'pending' else 'failed' end,
         finished_at = case when v.tries < {MAX_TRIES} then null else now() end
    from x where v.id = x.id
  returning v.id, x.lease_until)
insert into delivery_attempts ({_ATTEMPT_COLUMNS})
select d.id, {_N}, d.lease_until - interval '{LEASE.seconds} seconds', null, {LEASE.seconds * 1000},
       'The attempt was interrupted on our side; the receiver may have got it.', null
  from d
""")

_DISABLE_FAILING: Final = text(f"""
with w as (
  update webhook_endpoints x
     set status = 'disabled', disabled_reason = 'failing', updated_at = now()
   where x.status = 'enabled' and x.failing_since <= now() - interval '{FAILING_LIMIT.days} days'
     and exists (select 1 from deliveries d where d.endpoint_id = x.id and d.status = 'pending' and d.tries > 0)
  returning x.id, x.user_id, x.url, x.disabled_reason),
{_MAIL}
select id, user_id from w
""")

_COUNT_DUE: Final = text(f"select count(*) as due from (select 1 from deliveries where {_DUE} limit {BATCH}) x")


# -- taking ----------------------------------------------------------------------------------------------------


def take(room: Room = Room()) -> Claim | None:
    """The delivery that is due first where there is room, claimed; None: nothing is."""
    return _claimed(db.execute(_TAKE, {"next_token": uuid4(), **_limits(room)}))


def give_back(claim: Claim) -> None:
    """Not begun: the lane has filled up meanwhile. The try does not count; the row waits parked."""
    db.rowcount(_GIVE_BACK, {"id": claim.id, "token": claim.token})


def postpone(claim: Claim, delay: float) -> None:
    """Not begun, nor to be for `delay` seconds: its receiver has failed too often lately. The try does not count."""
    db.rowcount(_POSTPONE, {"id": claim.id, "token": claim.token, "delay": delay})


def _limits(room: Room) -> dict[str, Any]:
    return {"full": list(room.full), "only": None if room.only is None else list(room.only)}


def _claimed(rows: Sequence[Row[Any]]) -> Claim | None:
    if not rows:
        return None
    row = rows[0]
    owner = row.endpoint_id or row.user_id
    return Claim(
        id=row.claim,
        token=row.token,
        lane=row.lane,
        tries=row.tries,
        url=row.url,
        secrets=tuple(Encrypted(owner, encrypted) for encrypted in (row.secret, row.previous_secret) if encrypted),
        event=Event(row.id, row.user_id, row.type, row.invocation_id, row.data, row.attempts, row.created_at),
        failing=row.failing,
        more=getattr(row, "more", False),
    )


# -- ending ----------------------------------------------------------------------------------------------------


def delivered(claim: Claim, attempt: Attempt, room: Room | None = None) -> Claim | None:
    """It has arrived. With `room`, the next delivery is taken in the same breath, and returned."""
    return _end(claim, attempt, room, status="delivered", verdict="ok")


def retry_later(claim: Claim, attempt: Attempt, delay: float, room: Room | None = None) -> Claim | None:
    """It has not; again in `delay` seconds. The endpoint counts as failing until its next success."""
    return _end(claim, attempt, room, status="pending", verdict="failed", delay=delay)


def give_up(claim: Claim, attempt: Attempt | None, room: Room | None = None) -> Claim | None:
    """It will not be tried again: the schedule is at its end, the receiver is gone, or (no attempt) disabled.

    410 disables the endpoint, and its owner is mailed.
    """
    if attempt is not None and attempt.gone:
        _end(claim, attempt, None, status="failed", verdict="gone")
        return None if room is None else take(room)  # only now the endpoint is seen to be disabled
    return _end(claim, attempt, room, status="failed", verdict="none" if attempt is None else "failed")


def close(claim: Claim, attempt: Attempt) -> None:
    """A test has been sent: it ends as it went, and says nothing about the endpoint's health."""
    _end(claim, attempt, None, status="delivered" if attempt.ok else "failed", verdict="none")


def _end(
    claim: Claim, attempt: Attempt | None, room: Room | None, *, status: str, verdict: str, delay: float | None = None
) -> Claim | None:
    parameters = {
        "id": claim.id,
        "token": claim.token,
        "status": status,
        "verdict": verdict,
        "delay": delay,
        "at": attempt and attempt.at,
        "http_status": attempt and attempt.http_status,
        "duration_ms": attempt and attempt.duration_ms,
        "error": attempt and attempt.error,
        "response_excerpt": attempt and attempt.response_excerpt,
    }
    if room is None:
        db.execute(_END_ONLY, parameters)
        return None
    return _claimed(
        db.execute(_END_AND_TAKE, {**parameters, "next_token": uuid4(), "successor": room.successor, **_limits(room)})
    )


# -- sweeping --------------------------------------------------------------------------------------------------


def park(full: Sequence[int]) -> int:
    """Take the due rows of full lanes out of everybody's way; → how many, `BATCH` at most."""
    return db.rowcount(_PARK, {"full": list(full)})


def unpark(lanes: Sequence[int] | None = None) -> int:
    """Bring back the oldest parked rows of these lanes, or of each: nobody may be left whose end would do it."""
    return db.rowcount(_UNPARK, {}) if lanes is None else db.rowcount(_UNPARK_LANES, {"lanes": list(lanes)})


def expire_leases() -> int:
    """Deliveries whose process died in the middle are due again at once; the attempt counts. → how many."""
    return _until_done(_EXPIRE)


def disable_failing() -> int:
    """Disable endpoints that took nothing for five days and are still being tried; mail their owners. → how many."""
    disabled = db.execute(_DISABLE_FAILING, {})
    for row in disabled:
        logger.warning("webhook endpoint disabled", endpoint_id=str(row.id), user_id=str(row.user_id))
    return len(disabled)


def notify_due() -> int:
    """Ring for what is due now (retries whose time has come, lost doorbells). → how many bells were rung."""
    return messages.notify_times(messages.DELIVER, db.execute(_COUNT_DUE, {})[0].due)


def _until_done(batch: TextClause) -> int:
    total = 0
    while True:
        count = db.rowcount(batch, {})
        total += count
        if count < BATCH:
            return total
