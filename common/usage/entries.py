"""The usage history: one entry per completed invocation, newest first, by page or as an export."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, func, select, text, tuple_, union_all
from sqlalchemy.orm import Session

from common.kit import db
from common.kit.paging import Page, Position, Window
from common.models.tools import Tool
from common.models.usage import UsageLog
from common.usage import keyed

#: Rows per transaction of an export: a snapshot held for minutes would slow down the queue.
EXPORT_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Filter:
    """Filters on `created_at` (`since` inclusive, `until` exclusive), tool (id or slug), status, end user and API key.

    `api_key`: of an API key that was made by hand, also what comes from it.
    """

    since: datetime | None = None
    until: datetime | None = None
    tool: str | None = None
    statuses: frozenset[str] = frozenset()
    end_user: str | None = None
    api_key: UUID | None = None


@dataclass(frozen=True, slots=True)
class ToolRef:
    """The tool of an entry."""

    id: UUID
    slug: str
    name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """The usage of one completed invocation. `latency_ms`, `http_status`: of its last call, None without one."""

    id: UUID
    invocation_id: UUID
    tool: ToolRef
    status: str
    tokens_used: int
    latency_ms: int | None
    http_status: int | None
    api_key_id: UUID | None
    api_key_root_id: UUID | None
    end_user: str | None
    created_at: datetime


class EntryRow(NamedTuple):
    """The columns of `usage_logs` that an entry is made of, in this order."""

    id: UUID
    invocation_id: UUID
    tool_id: UUID
    status: str
    tokens_used: int
    latency_ms: int | None
    http_status: int | None
    api_key_id: UUID | None
    api_key_root_id: UUID | None
    end_user: str | None
    created_at: datetime


_COLUMNS = [getattr(UsageLog, name) for name in EntryRow._fields]


def history(user_id: UUID, window: Window, filters: Filter | None = None) -> Page[Entry]:
    """One page of an account's entries, newest first."""
    entries = _read(user_id, window.limit + 1, window.after, filters or Filter())
    return Page.cut(entries, window, _position)


def export(user_id: UUID, filters: Filter | None = None, *, batch: int = EXPORT_BATCH) -> Iterator[Entry]:
    """All entries that existed at the start, newest first, in constant memory and short transactions."""
    with db.snapshot() as session:  # the clock that `created_at` is of
        now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    asked = filters or Filter()
    bounded = replace(asked, until=min(asked.until or now, now))
    after: Position | None = None
    while True:
        entries = _read(user_id, batch, after, bounded)
        yield from entries
        if len(entries) < batch:
            return
        after = _position(entries[-1])


def _position(entry: Entry) -> Position:
    return (entry.created_at, entry.id)


def _read(user_id: UUID, limit: int, after: Position | None, filters: Filter) -> list[Entry]:
    return db.read_anywhere(lambda session: _entries(session, user_id, limit, after, filters))


def _entries(session: Session, user_id: UUID, limit: int, after: Position | None, filters: Filter) -> list[Entry]:
    tool_id = _tool_id(session, filters.tool) if filters.tool else None
    if filters.tool and tool_id is None:
        return []
    query = _query(user_id, after, filters, tool_id)
    if filters.api_key:
        query = query.where(*keyed.conditions(session, filters.api_key))
    query = _newest(query, filters.statuses, limit)
    rows = [EntryRow._make(row) for row in session.execute(query)]
    names = _names(session, {row.tool_id for row in rows})
    return [_entry(row, names) for row in rows]


Entries = Select[*tuple[Any, ...]]  # Any: the columns are typed by `EntryRow`
_NEWEST_FIRST = (UsageLog.created_at.desc(), UsageLog.id.desc())


def _query(user_id: UUID, after: Position | None, filters: Filter, tool_id: UUID | None) -> Entries:
    """Add only the conditions in use, so that each combination is planned for its own index."""
    query = select(*_COLUMNS).where(UsageLog.user_id == user_id)
    if filters.since:
        query = query.where(UsageLog.created_at >= filters.since)
    if filters.until:
        query = query.where(UsageLog.created_at < filters.until)
    if tool_id:
        query = query.where(UsageLog.tool_id == tool_id)
    if filters.end_user is not None:
        query = query.where(UsageLog.end_user == filters.end_user)
    if after:
        query = query.where(tuple_(UsageLog.created_at, UsageLog.id) < tuple_(*after))
    return query


def _newest(query: Entries, statuses: frozenset[str], limit: int) -> Entries:
    """The newest entries with one of these statuses (none: any).

    Without success among them, the newest of each status are read from the index of failures, which has the status
    before the time: a status that never occurs is not looked for among all the others.
    """
    if not statuses or "success" in statuses:
        every = query.where(UsageLog.status == func.any(sorted(statuses))) if statuses else query
        return every.order_by(*_NEWEST_FIRST).limit(limit)
    failed = query.where(text("status <> 'success'"))  # literally, as in the index
    each = [
        failed.where(UsageLog.status == status).order_by(*_NEWEST_FIRST).limit(limit).subquery().select()
        for status in sorted(statuses)
    ]
    found = union_all(*each).subquery()
    return select(found).order_by(found.c.created_at.desc(), found.c.id.desc()).limit(limit)


def _tool_id(session: Session, tool: str) -> UUID | None:
    try:
        return UUID(tool)
    except ValueError:
        return session.scalar(select(Tool.id).where(Tool.slug == tool))


def _names(session: Session, ids: set[UUID]) -> dict[UUID, ToolRef]:
    rows = session.execute(select(Tool.id, Tool.slug, Tool.name).where(Tool.id == func.any(list(ids))))
    return {row.id: ToolRef(row.id, row.slug, row.name) for row in rows}


def _entry(row: EntryRow, names: dict[UUID, ToolRef]) -> Entry:
    return Entry(
        id=row.id,
        invocation_id=row.invocation_id,
        tool=names[row.tool_id],
        status=row.status,
        tokens_used=row.tokens_used,
        latency_ms=row.latency_ms,
        http_status=row.http_status,
        api_key_id=row.api_key_id,
        api_key_root_id=row.api_key_root_id,
        end_user=row.end_user,
        created_at=row.created_at,
    )
