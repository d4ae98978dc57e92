# ruff: noqa: S608  (the statements are put together from constants)
"""The queue of webhook deliveries: the table `deliveries`, and every transition of a row.

    waiting ──claim──▶ in flight ──delivered──▶ delivered       waiting: from due_at on
       ▲  ▲               │ │                                   in flight: a token and a lease
       │  └──retry_later──┘ └──give_up──▶ failed                parked: its lane is full
       └─────parked ◀─── park, release

Each transition is one statement in its own transaction, fenced by the claim's token; an attempt is recorded together
with its consequences. The statement that ends a delivery also claims the next one, in one round trip: the earliest due
in a lane with capacity (`LaneCapacity`). Rows of full lanes are parked, so that they are not scanned again and again;
they return one by one as deliveries of their lane end, or by the sweep (`sweeping`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Final
from uuid import uuid4

from sqlalchemy import text

from common.kit import db, log
from common.kit.query import Query
from common.webhooks.disabling import DISABLED
from common.webhooks.model import AttemptResult, Claim, Content, DeliveryRow, LaneCapacity

logger = log.get(__name__)

#: An attempt takes at most 15 s. After the lease, another worker may claim the delivery; the token fences the first.
LEASE: Final = timedelta(seconds=30)
BATCH: Final = 500
ANY_LANE: Final = LaneCapacity()


# -- statements ------------------------------------------------------------------------------------------------

DUE = "status = 'pending' and lease_until is null and not parked and due_at <= now()"

NEXT = f"""
  select id, due_at from deliveries
   where {DUE} and lane <> all(cast(:full as bigint[]))
     and (cast(:only as bigint[]) is null or lane = any(cast(:only as bigint[])))
"""

_CLAIMED = f"token = cast(:next_token as uuid), lease_until = now() + interval '{LEASE.seconds} seconds'"


CLAIM = """
       t.id as claim, t.token, t.lane, t.tries, t.endpoint_id, coalesce(t.url, w.url) as url,
       coalesce(w.secret, s.secret) as secret,
       case when w.previous_until > now() then w.previous_secret
            when s.previous_until > now() then s.previous_secret end as previous_secret,
       w.failing_since is not null as failing,
       w.rate_limit_per_second is not null as paced, coalesce(w.payload = 'thin', false) as thin,
       coalesce('receipt' = any(w.include), false) as receipt, w.encrypted_headers as headers,
       e.id, e.user_id, e.type, e.invocation_id, e.data, e.attempts, e.created_at
"""

CLAIM_JOINS = """
  left join events e on e.id = t.event_id
  left join webhook_endpoints w on w.id = t.endpoint_id and w.status = 'enabled'
  left join webhook_default_secrets s on t.endpoint_id is null and s.user_id = t.user_id
"""

#: A row with the content that comes with it.
ClaimedRow = tuple[DeliveryRow, tuple[object, ...]]


def with_content(text: str) -> Callable[[Content], Query[ClaimedRow]]:
    """A statement that claims, for each content."""

    @cache
    def query(content: Content) -> Query[ClaimedRow]:
        return Query.pair(text.format(columns=content.columns, joins=content.joins), DeliveryRow, content.row)

    return query


_CLAIM_NEXT: Final = with_content(f"""
with n as ({NEXT} order by due_at limit 1 for update skip locked),
t as (update deliveries d set {_CLAIMED}, tries = tries + 1 from n where d.id = n.id returning d.*)
select {CLAIM}, exists (select 1 from deliveries where {DUE} and id <> t.id) as more {{columns}}
  from t {CLAIM_JOINS} {{joins}}
""")

ATTEMPT_COLUMNS = "delivery_id, n, at, http_status, duration_ms, error, response_excerpt"
NEXT_N = "(select coalesce(max(n), 0) + 1 from delivery_attempts p where p.delivery_id = d.id)"

#: `n` and `h` read `d`: the update runs first, and a worker whose token is stale claims nothing.
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
  insert into delivery_attempts ({ATTEMPT_COLUMNS})
  select d.id, {NEXT_N}, cast(:at as timestamptz), cast(:http_status as smallint), cast(:duration_ms as integer),
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
{DISABLED}
"""

_SUCCESSOR = """
  select id from deliveries
   where parked and lane = (select lane from d) {condition} order by due_at limit 1 for update skip locked
"""

_END_ONLY: Final = text(f"""
with {_END},
h as ({_SUCCESSOR.format(condition="")}),
t as (update deliveries x set parked = false from h where x.id = h.id)
select 1 from d
""")

#: With nothing else due, claim the lane's next delivery directly: `n` cannot see a row unparked by this statement.
_END_AND_CLAIM: Final = with_content(f"""
with {_END},
n as ({NEXT} and exists (select 1 from d) order by due_at limit 1 for update skip locked),
h as ({_SUCCESSOR.format(condition="and cast(:successor as boolean)")}),
y as (select id, true as taken from n union all select id, not exists (select 1 from n) from h),
t as (
  update deliveries x
     set parked = false, tries = x.tries + y.taken::integer,
         token = case when y.taken then cast(:next_token as uuid) end,
         lease_until = case when y.taken then now() + interval '{LEASE.seconds} seconds' end
    from y where x.id = y.id
  returning x.*)
select {CLAIM}, false as more {{columns}} from d join t on t.token is not null {CLAIM_JOINS} {{joins}}
""")

_RELEASE: Final = text("""
update deliveries set token = null, lease_until = null, tries = tries - 1, parked = true
 where id = :id and token = :token
""")

_POSTPONE: Final = text("""
update deliveries
   set token = null, lease_until = null, tries = tries - 1, due_at = now() + make_interval(secs => :delay)
 where id = :id and token = :token
""")

# -- claiming --------------------------------------------------------------------------------------------------


def claim_next(lanes: LaneCapacity = ANY_LANE) -> Claim | None:
    """Claim the earliest due delivery of a lane with capacity; None if there is none."""
    if lanes.has_none:
        return None
    return _first(execute(_CLAIM_NEXT, {"next_token": uuid4(), **limits(lanes)}, lanes))


def release(claim: Claim) -> None:
    """Release a claim whose lane has filled up in the meantime. The try does not count; the row is parked."""
    db.rowcount(_RELEASE, {"id": claim.id, "token": claim.token})


def postpone(claim: Claim, delay: float) -> None:
    """Release a claim for `delay` seconds, because its receiver has failed too often. The try does not count."""
    db.rowcount(_POSTPONE, {"id": claim.id, "token": claim.token, "delay": delay})


def limits(lanes: LaneCapacity) -> dict[str, object]:
    return {"full": list(lanes.full), "only": None if lanes.only is None else list(lanes.only)}


def execute(
    statement: Callable[[Content], Query[ClaimedRow]], parameters: dict[str, object], lanes: LaneCapacity
) -> list[Claim]:
    """Run a statement that claims. Returns the claims."""
    return [row.as_claim(content) for row, content in db.execute(statement(lanes.content), parameters)]


def _first(claims: list[Claim]) -> Claim | None:
    return claims[0] if claims else None


# -- ending ----------------------------------------------------------------------------------------------------


def delivered(claim: Claim, attempt: AttemptResult, lanes: LaneCapacity | None = None) -> Claim | None:
    """Record a success. With `lanes`, also claim the next delivery and return it."""
    return _end(claim, attempt, lanes, status="delivered", verdict="ok")


def retry_later(claim: Claim, attempt: AttemptResult, delay: float, lanes: LaneCapacity | None = None) -> Claim | None:
    """Record a failure; retry in `delay` seconds. The endpoint counts as failing until its next success."""
    return _end(claim, attempt, lanes, status="pending", verdict="failed", delay=delay)


def give_up(claim: Claim, attempt: AttemptResult | None, lanes: LaneCapacity | None = None) -> Claim | None:
    """Fail the delivery for good: retries exhausted, 410 Gone, or (without an attempt) endpoint deleted or disabled.

    410 disables the endpoint and mails its owner.
    """
    if attempt is not None and attempt.gone:
        _end(claim, attempt, None, status="failed", verdict="gone")
        return None if lanes is None else claim_next(lanes)  # a new statement, which sees the endpoint disabled
    return _end(claim, attempt, lanes, status="failed", verdict="none" if attempt is None else "failed")


def finish_test(claim: Claim, attempt: AttemptResult) -> None:
    """Record the result of a test, without changing the endpoint's health."""
    _end(claim, attempt, None, status="delivered" if attempt.ok else "failed", verdict="none")


def _end(
    claim: Claim,
    attempt: AttemptResult | None,
    lanes: LaneCapacity | None,
    *,
    status: str,
    verdict: str,
    delay: float | None = None,
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
    if lanes is None:
        db.rowcount(_END_ONLY, parameters)
        return None
    successor = lanes.successors is None or bool(lanes.successors)
    following = {"next_token": uuid4(), "successor": successor, **limits(lanes)}
    return _first(execute(_END_AND_CLAIM, {**parameters, **following}, lanes))
