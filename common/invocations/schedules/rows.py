# ruff: noqa: S608  (the statements are put together from constants)
"""A schedule as it is read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from common.invocations.schedules.timing import Timing
from common.kit.query import Query


class ScheduleRow(NamedTuple):
    """A schedule with the names of its tool. `now`: the database's clock when it was read."""

    id: UUID
    user_id: UUID
    tool_id: UUID
    tool_slug: str
    tool_name: str
    input: object  # JSON
    metadata: Mapping[str, str]
    max_tokens: int | None
    webhook_url: str | None
    cron: str | None
    every_seconds: int | None
    timezone: str
    counted_from: datetime
    paused: bool
    next_at: datetime | None
    last_at: datetime | None
    last_invocation_id: UUID | None
    last_problem: Mapping[str, object] | None
    created_at: datetime
    updated_at: datetime
    now: datetime

    @property
    def tool(self) -> ScheduleRow:
        """The row itself, which has its tool's id and names."""
        return self

    @property
    def last(self) -> ScheduleRow | None:
        """The row itself, which has the time that was dealt with last; None: there is none."""
        return None if self.last_at is None else self

    @property
    def timing(self) -> Timing:
        """When it fires."""
        return Timing(self.cron, self.every_seconds, self.timezone, self.counted_from)


COLUMNS: Final = """s.id, s.user_id, s.tool_id, t.slug as tool_slug, t.name as tool_name,
       coalesce(s.input_as_sent, cast(s.input as json)) as input,
       coalesce(s.metadata_as_sent, cast(s.metadata as json)) as metadata, s.max_tokens, s.webhook_url, s.cron,
       s.every_seconds, s.timezone, s.counted_from, s.paused, s.next_at, s.last_at, s.last_invocation_id,
       s.last_problem, s.created_at, s.updated_at, now() as now"""
_OWN: Final = f"select {COLUMNS} from schedules s join tools t on t.id = s.tool_id where s.user_id = :user_id"
GET: Final = Query(f"{_OWN} and s.id = :id", ScheduleRow)
#: Newest first, below an id.
LIST: Final = Query(f"{_OWN} and s.id < :below order by s.id desc limit :limit", ScheduleRow)
