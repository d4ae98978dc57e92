"""What failed, by tool and error."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from common.invocations import fragments
from common.invocations.filters import Filters
from common.kit import clock, db
from common.kit.paging import Page, Window
from common.kit.query import Query
from common.models.base import MAX_TOKENS
from common.models.invocations import ERROR_CODES

#: How far back one looks without a `start`.
DAYS: Final = 30


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


#: Each code by itself: then the index has all that is asked, and is read nowhere else. What fallbacks ran (`x`) has an
#: index of its own, because it is priced otherwise.
GROUPS: Final = Query(
    f"""
with g as materialized (
  select i.tool_id, c.code, count(*) as number, min(i.created_at) as first, max(i.created_at) as last,
         max(i.id::text)::uuid as last_id
    from unnest(cast(:codes as text[])) c(code)
   cross join lateral (
         select f.tool_id, f.created_at, f.id from invocations f
          where f.user_id = :user_id and f.error_code = c.code and f.id >= :low and f.id < :high
            and f.created_at >= :from and f.created_at < :to) i
   group by i.tool_id, c.code),
x as materialized (
  select i.tool_id, c.code, i.requested_tool_id, count(*) as number
    from unnest(cast(:codes as text[])) c(code)
   cross join lateral (
         select f.tool_id, f.requested_tool_id from invocations f
          where f.user_id = :user_id and f.error_code = c.code and f.requested_tool_id is not null
            and f.id >= :low and f.id < :high and f.created_at >= :from and f.created_at < :to) i
   group by i.tool_id, c.code, i.requested_tool_id),
called as (
  select g.tool_id, g.code, g.tool_id as called, g.number - coalesce(sum(x.number), 0) as number
    from g left join x using (tool_id, code) group by g.tool_id, g.code, g.number
  union all
  select * from x),
again as (
  select x.tool_id, x.code, sum(x.number * m.tokens) as tokens
    from called x cross join lateral ({fragments.most_held("x.called")}) m where x.number > 0 group by 1, 2)
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
    given = Filters(owner, start=start or until - timedelta(days=DAYS), end=until)
    below = window.after[0] if window.after else given.high
    page = {"high": given.high, "below": below, "codes": list(ERROR_CODES), "limit": window.limit + 1}
    rows = db.fetch_anywhere(GROUPS, {**given.parameters(), **page})
    return Page.cut(rows, window, lambda group: (group.last_id,))
