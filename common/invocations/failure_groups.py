"""What failed, by tool and error.

The sums of whole hours, days and months (`failure_sums`), and what no sum has seen yet; an hour that the range cuts is
counted from its rows, unless all of them are inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from common.invocations import fragments
from common.invocations.failure_sums import FAILED
from common.invocations.filters import CLOCK_SKEW
from common.kit import clock, db
from common.kit.clock import uuid7_floor
from common.kit.paging import Page, Window
from common.kit.query import Query
from common.models.base import MAX_TOKENS
from common.models.invocations import ERROR_CODES
from common.usage import ranges
from common.usage.ranges import Segment

#: How far back one looks without a `start`.
DAYS: Final = 30
#: Nothing failed before.
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class FailureGroup(NamedTuple):
    """Failed invocations of one tool with one error code. `last_id` is the latest of them.

    `max_rerun_tokens`: the most that running all of them again can cost; None if none can be run. What a fallback ran
    goes to the tool that was asked for.
    """

    tool_id: UUID
    slug: str
    name: str
    code: str
    number: int
    first: datetime
    last: datetime
    last_id: UUID
    max_rerun_tokens: int | None

    @property
    def tool(self) -> dict[str, object]:
        """What the tool is called now."""
        return {"id": self.tool_id, "slug": self.slug, "name": self.name}


#: Pieces of hours: those that the range cuts; or, as long as nothing is rolled up, all of it (`whole`).
_PIECES: Final = """
mark as materialized (select failure_mark() as xid),
pieces as materialized (
  select p.a, p.b, p.low, p.high, p.hour, mark.xid is not null and not exists (
           select from failure_rollups r where r.user_id = :user_id and r.grain = 'hour' and r.starts_at = p.hour
              and (r.first_at < p.a or r.last_at >= p.b)) as summed
    from mark, unnest(cast(:wholes as boolean[]), cast(:piece_starts as timestamptz[]),
         cast(:piece_ends as timestamptz[]), cast(:lows as uuid[]), cast(:highs as uuid[]),
         cast(:hours as timestamptz[])) p(whole, a, b, low, high, hour)
   where p.whole = (mark.xid is null))"""
#: `offset 0`: by the index, unit by unit.
_SUMMED: Final = """
units as (
  select s.grain, s.a, s.b
    from mark, unnest(cast(:grains as text[]), cast(:starts as timestamptz[]), cast(:ends as timestamptz[]))
         s(grain, a, b)
   where mark.xid is not null
  union all select 'hour', p.hour, p.hour + interval '1 hour' from pieces p where p.summed),
summed as materialized (
  select r.* from units s cross join lateral (
         select r.tool_id, r.code, r.called_id, r.number, r.first_at, r.last_at, r.last_id from failure_rollups r
          where r.user_id = :user_id and r.grain = s.grain and r.starts_at >= s.a and r.starts_at < s.b offset 0) r)"""
#: What has failed since, but for what is counted from rows anyway. By transaction, not by status (`is true`), and each
#: by its id: the planner would rather begin with all that ever failed.
_TAIL: Final = f"""
tail as materialized (
  select i.tool_id, i.error_code as code, coalesce(i.requested_tool_id, i.tool_id) as called_id, i.created_at, i.id
    from mark cross join lateral (
         select u.invocation_id from usage_logs u
          where u.user_id = :user_id and u.xid > mark.xid and (u.{FAILED}) is true offset 0) u
   cross join lateral (select * from invocations i where i.id = u.invocation_id offset 0) i
   where i.error_code is not null and i.created_at >= :from and i.created_at < :to
     and not exists (select from pieces p where not p.summed and i.created_at >= p.a and i.created_at < p.b))"""  # noqa: S608  (a constant)
#: Each code by itself: then the index has all that is asked, and is read nowhere else. What fallbacks ran has an index
#: of its own, because it is priced otherwise.
_ROWS: Final = """
select {columns} from pieces p cross join unnest(cast(:codes as text[])) c(code) cross join lateral (
         select f.tool_id, f.created_at, f.id{requested} from invocations f
          where f.user_id = :user_id and f.error_code = c.code and f.id >= p.low and f.id < p.high
            and f.created_at >= p.a and f.created_at < p.b{which} offset 0) f
   where not p.summed group by f.tool_id, c.code{requested}"""
_ALL: Final = _ROWS.format(
    columns="""f.tool_id, c.code, count(*) as number, min(f.created_at) as first_at, max(f.created_at) as last_at,
         max(f.id::text)::uuid as last_id""",
    requested="",
    which="",
)
_FALLBACKS: Final = _ROWS.format(
    columns="f.tool_id, c.code, f.requested_tool_id, count(*) as number",
    requested=", f.requested_tool_id",
    which=" and f.requested_tool_id is not null",
)
GROUPS: Final = Query(
    f"""
with {_PIECES}, {_SUMMED}, {_TAIL},
counted as materialized ({_ALL}),
fallbacks as materialized ({_FALLBACKS}),
parts as materialized (
  select tool_id, code, called_id, number, first_at, last_at, last_id from summed
  union all select tool_id, code, called_id, 1, created_at, created_at, id from tail
  union all select tool_id, code, tool_id, number, first_at, last_at, last_id from counted),
g as materialized (
  select tool_id, code, sum(number)::bigint as number, min(first_at) as first, max(last_at) as last,
         max(last_id::text)::uuid as last_id
    from parts group by tool_id, code),
called as (
  select tool_id, code, called_id, number from parts
  union all select tool_id, code, requested_tool_id, number from fallbacks
  union all select tool_id, code, tool_id, -number from fallbacks),
again as (
  select x.tool_id, x.code, sum(x.number * m.tokens) as tokens
    from (select tool_id, code, called_id, sum(number) as number from called group by 1, 2, 3) x
   cross join lateral ({fragments.most_held("x.called_id")}) m where x.number > 0 group by 1, 2)
select g.tool_id, t.slug, t.name, g.code, g.number, g.first, g.last, g.last_id,
       case when a.tokens > {MAX_TOKENS} then {MAX_TOKENS} else a.tokens end::bigint as max_rerun_tokens
  from g join tools t on t.id = g.tool_id left join again a on a.tool_id = g.tool_id and a.code = g.code
 where g.last_id < :below order by g.last_id desc limit :limit
""",  # noqa: S608  (a constant)
    FailureGroup,
)


def failures(
    owner: UUID, window: Window, *, start: datetime | None = None, end: datetime | None = None
) -> Page[FailureGroup]:
    """The groups of an account's failed invocations, the one that failed last first.

    `start` (default: `DAYS` before the end) inclusive, `end` (default: now) exclusive, both on `created_at`.
    """
    until = end or clock.now()
    since = start or max(until, EPOCH) - timedelta(days=DAYS)
    rows = db.fetch_anywhere(GROUPS, parameters(owner, window, _sane(since), _sane(until)))
    return Page.cut(rows, window, lambda group: (group.last_id,))


def parameters(owner: UUID, window: Window, since: datetime, until: datetime) -> dict[str, object]:
    """The parameters of `GROUPS`."""
    edges = ranges.edges(since, until, "hour")
    pieces = [(False, edge) for edge in edges] + [(True, Segment("hour", since, until))]
    return {
        "user_id": owner,
        "from": since,
        "to": until,
        "codes": list(ERROR_CODES),
        "below": window.after[0] if window.after else UUID(int=2**128 - 1),
        "limit": window.limit + 1,
        **_units(ranges.cover(since, until, "month")),
        "wholes": [whole for whole, _ in pieces],
        "piece_starts": [piece.since for _, piece in pieces],
        "piece_ends": [piece.until for _, piece in pieces],
        "lows": [uuid7_floor(piece.since, -CLOCK_SKEW) for _, piece in pieces],
        "highs": [uuid7_floor(piece.until, CLOCK_SKEW) for _, piece in pieces],
        "hours": [ranges.floor(piece.since, "hour") for _, piece in pieces],
    }


def _sane(moment: datetime) -> datetime:
    """In UTC, and no further away than where something may have failed."""
    return max(EPOCH, min(moment, clock.now() + timedelta(days=1))).astimezone(UTC)


def _units(segments: Sequence[Segment]) -> dict[str, object]:
    return {
        "grains": [segment.grain for segment in segments],
        "starts": [segment.since for segment in segments],
        "ends": [segment.until for segment in segments],
    }
