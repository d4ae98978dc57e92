# ruff: noqa: S608  (the statements are put together from constants)
"""delivered_together: several deliveries that were accepted are ended by one statement, each under its token.

What `queue.delivered` writes is written for each of them, and as many others are claimed: first what is due, then what
is parked in the lanes of those that ended. Whatever else may come of an attempt is written singly (`queue`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from common.kit import db, jsonb, log
from common.webhooks.model import AttemptResult, Claim, LaneCapacity
from common.webhooks.queue import (
    ATTEMPT_COLUMNS,
    CLAIM,
    CLAIM_JOINS,
    LEASE,
    NEXT,
    NEXT_N,
    execute,
    limits,
    with_content,
)

logger = log.get(__name__)

#: How many deliveries one statement ends at most. (A constant, so that the planner knows.)
MOST_TOGETHER: Final = 16

_TOKENS = "cast(:next_tokens as uuid[])"
#: `n` and `h` read `d`, as in `queue`: only as many are claimed as were really ended.
_DELIVERED: Final = with_content(f"""
with c as materialized (
  select * from json_to_recordset(cast(:given as json)) as c(
    id uuid, token uuid, at timestamptz, http_status smallint, duration_ms integer, response_excerpt text)
   limit {MOST_TOGETHER}),
d as materialized (
  update deliveries x set status = 'delivered', token = null, lease_until = null, finished_at = now()
    from c where x.id = c.id and x.token = c.token
  returning x.id, x.lane, x.endpoint_id),
a as (
  insert into delivery_attempts ({ATTEMPT_COLUMNS})
  select d.id, {NEXT_N}, c.at, c.http_status, c.duration_ms, null, c.response_excerpt from d join c on c.id = d.id),
w as (
  update webhook_endpoints x set failing_since = null, updated_at = now()
    from d where x.id = d.endpoint_id and x.status = 'enabled' and x.failing_since is not null),
n as ({NEXT} and exists (select 1 from d) order by due_at limit cardinality({_TOKENS}) for update skip locked),
l as (
  select d.lane, least(count(*), s.room) as most
    from d join (select lane, count(*) as room from unnest(cast(:successors as bigint[])) s(lane) group by lane) s
      on s.lane = d.lane group by d.lane, s.room),
h as (
  select x.id, x.due_at from l cross join lateral (
    select id, due_at from deliveries where parked and lane = l.lane
     order by due_at limit l.most for update skip locked) x),
y as (
  select id, row_number() over (order by is_parked, due_at) as at, (select count(*) from d) as most
    from (select id, due_at, false as is_parked from n union all select id, due_at, true from h) u),
t as (
  update deliveries x
     set parked = false, tries = x.tries + (y.at <= y.most)::integer,
         token = case when y.at <= y.most then ({_TOKENS})[y.at] end,
         lease_until = case when y.at <= y.most then now() + interval '{LEASE.seconds} seconds' end
    from y where x.id = y.id
  returning x.*)
select {CLAIM}, false as more {{columns}} from t {CLAIM_JOINS} {{joins}} where t.token is not null
""")

_HAND_BACK: Final = text("""
update deliveries set token = null, lease_until = null, tries = tries - 1
 where lease_until is not null and token = any(cast(:tokens as uuid[]))
""")


def delivered_together(ends: Sequence[tuple[Claim, AttemptResult]], lanes: LaneCapacity) -> list[Claim] | None:
    """Record successes, at most `MOST_TOGETHER`, and claim as many other deliveries.

    Returns None if that failed, or if it is unknown whether it did: each is then to be recorded singly.
    """
    tokens = [uuid4() for _ in ends]
    given = jsonb.dumps([_given(claim, attempt) for claim, attempt in ends])
    successors = [claim.lane for claim, _ in ends] if lanes.successors is None else list(lanes.successors)
    parameters = {"given": given, "next_tokens": tokens, "successors": successors, **limits(lanes)}
    try:
        return execute(_DELIVERED, parameters, lanes)
    except (db.Unreachable, DBAPIError) as error:
        logger.warning("webhook outcomes stored one by one", count=len(ends), reason=type(error).__name__)
        if isinstance(error, db.CommitUnknown):
            _hand_back(tokens)
        return None


def _given(claim: Claim, attempt: AttemptResult) -> dict[str, object]:
    return {
        "id": claim.id,
        "token": claim.token,
        "at": attempt.at,
        "http_status": attempt.http_status,
        "duration_ms": attempt.duration_ms,
        "response_excerpt": attempt.response_excerpt,
    }


def _hand_back(tokens: Sequence[UUID]) -> None:
    """After a lost answer: whatever was claimed becomes due again, if this can be stored; or its lease runs out."""
    with contextlib.suppress(db.Unreachable):
        db.rowcount(_HAND_BACK, {"tokens": list(tokens)})
