"""get · listing · event_data: reading without touching."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from common.errors import NotFound
from common.invocations import lists, views, waiting
from common.invocations.filters import Filters, Matching
from common.invocations.model import Invocation, RequestedTool, Waiting
from common.invocations.representation import BEGINNINGS, at_event, represent
from common.invocations.views import BeginningRow, StateRow, ViewRow
from common.kit import db
from common.kit.paging import MAX_PAYLOAD_BYTES, Page, Window
from common.kit.query import Query
from common.tools import Price

EVERYTHING = Matching()


def get(invocation_id: UUID, owner: UUID | None) -> Invocation:
    """One invocation of `owner` (None: of any account, for admins). Raises `NotFound`, also for someone else's."""
    return _one(views.GET, {"id": invocation_id, "user_id": owner})


def get_ended(invocation_id: UUID, owner: UUID) -> Invocation:
    """As `get`; but of one that has not ended neither input nor output is read."""
    return _one(views.GET_ENDED, {"id": invocation_id, "user_id": owner})


def get_within(invocation_id: UUID, owner: UUID | None, most: int) -> Invocation:
    """As `get`; but input and output are read only where they have `most` bytes at most, together."""
    return _one(views.GET_WITHIN, {"id": invocation_id, "user_id": owner, "most": most})


def beginnings(invocation_id: UUID, owner: UUID | None, most: int) -> BeginningRow:
    """The first `most` characters of input and output, however large these are. Raises `NotFound`."""
    rows = db.execute(views.BEGINNINGS, {"id": invocation_id, "user_id": owner, "most": most})
    if not rows:
        raise NotFound("There is no such invocation.")
    return rows[0]


def _one(statement: Query[ViewRow], parameters: dict[str, object]) -> Invocation:
    rows = db.execute(statement, parameters)
    if not rows:
        raise NotFound("There is no such invocation.")
    return _invocation(rows[0])


def states(ids: Collection[UUID]) -> dict[UUID, tuple[str, int]]:
    """Status and attempts of several, of any owner (waiting clients were authorized when they began to wait)."""
    rows = db.execute(views.STATES, {"ids": list(ids)}) if ids else []
    return {row.id: (_status(row), row.attempts) for row in rows}


def _many(ids: Collection[UUID], *, payloads: bool) -> dict[UUID, Invocation]:
    rows = db.execute(views.GET_MANY, {"ids": list(ids), "payloads": payloads}) if ids else []
    return {row.id: _invocation(row) for row in rows}


def operator_details(ids: Collection[UUID]) -> dict[UUID, str | None]:
    """What was said of the last attempt of each that its owner is not told (for admins)."""
    rows = db.execute(views.OPERATOR_DETAILS, {"ids": list(ids)}) if ids else []
    return {row.invocation_id: row.operator_detail for row in rows}


def listing(
    owner: UUID | None,
    window: Window,
    *,
    statuses: Sequence[str] = (),
    tool: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    payloads: bool = True,
    matching: Matching = EVERYTHING,
) -> Page[Invocation]:
    """Newest first; `start` inclusive, `end` exclusive, both on `created_at`.

    A page has `MAX_PAYLOAD_BYTES` of input and output at most, or one invocation; or, without `payloads`, none.
    """
    given = Filters(owner, statuses, tool, start, end, matching)
    kind = lists.Kind.of(given, after=window.after is not None, payloads=payloads, limit=window.limit + 1)
    page = {**given.below(window), "limit": window.limit + 1, "most": MAX_PAYLOAD_BYTES}
    rows = db.fetch_anywhere(lists.statement(kind), {**given.parameters(), **page})
    more = bool(rows) and rows[0][1].found > len(rows)
    return Page.of([_invocation(row) for row, _ in rows], window, lambda invocation: (invocation.id,), more=more)


def event_data(
    event_type: str, invocation_id: UUID, attempts: int, *, most: int, row: tuple[object, ...] = ()
) -> dict[str, object]:
    """What an event says of its invocation: the state at the event, rendered from the row. Raises `NotFound`.

    Input and output are read only where what is shown of them has `most` bytes at most. `row`: of `views.CONTENT`; if
    it has what is shown, nothing is read.
    """
    if isinstance(row, ViewRow) and row.id == invocation_id and (row.payloads or not most):
        return represent(at_event(_invocation(row), event_type, attempts))
    found = get_within(invocation_id, None, most)
    if most and not found.payloads and event_type in BEGINNINGS:  # of an output that is not shown
        found = get(invocation_id, None)
    return represent(at_event(found, event_type, attempts))


def traceparent(invocation_id: UUID) -> str | None:
    """The trace of the request that made it; asked only where something is traced."""
    rows = db.execute(views.TRACEPARENT, {"id": invocation_id})
    return rows[0].traceparent if rows else None


def events_data(events: Collection[tuple[str, UUID, int]], *, payloads: bool = True) -> list[dict[str, object] | None]:
    """As `event_data`, for many (type, invocation, attempts) with one statement; None where there is none any more."""
    found = _many({invocation_id for _, invocation_id, _ in events}, payloads=payloads)
    return [
        represent(at_event(found[invocation_id], event_type, attempts)) if invocation_id in found else None
        for event_type, invocation_id, attempts in events
    ]


def _invocation(row: ViewRow) -> Invocation:
    status = _status(row)
    queued = status == "queued"
    return Invocation(
        id=row.id,
        user_id=row.user_id,
        status=status,
        tool_id=row.tool_id,
        tool_slug=row.slug,
        tool_name=row.name,
        tool_version=row.version,
        input=row.input,
        output=row.output,
        error_code=row.error_code,
        error_detail=row.error_detail,
        metadata=row.metadata,
        attempts=row.attempts,
        held=row.held,
        charged=row.charged,
        request_id=row.request_id,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        expires_at=row.expires_at,
        cancel_requested_at=row.cancel_requested_at,
        price=Price(row.base_tokens, row.per_unit, row.max_tokens, row.metered),
        units=row.units,
        basis=row.basis,
        stream=row.stream,
        api_key_id=row.api_key_id,
        end_user=row.end_user,
        rerun_of=row.rerun_of,
        not_before=row.not_before,
        priority=row.priority,
        requested_tool=_requested(row),
        waiting=_waiting(row) if queued else None,
        last_error=row.last_error if queued else None,
        payload_bytes=row.payload_bytes,
        payloads=row.payloads,
        traceparent=row.traceparent,
    )


def _waiting(row: ViewRow) -> Waiting:
    scheduled = row.not_before is not None
    lacks = waiting.lack(row.has_slot, row.waits_for_key)
    return waiting.of(row.tool_id, lacks, row.due_later, row.last_error, scheduled=scheduled)


def _requested(row: ViewRow) -> RequestedTool | None:
    if row.requested_tool_id is None or row.requested_slug is None:
        return None
    return RequestedTool(row.requested_tool_id, row.requested_slug)


def _status(row: ViewRow | StateRow) -> str:
    return row.stored if row.stored != "open" else "running" if row.running else "queued"
