"""What owners do with their schedules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple, NotRequired, TypedDict, Unpack
from uuid import UUID

from sqlalchemy import Select, delete, func, select, text
from sqlalchemy.orm import Session

from common import invocations, tools, webhooks
from common.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, TokenRevoked
from common.identity import idempotency
from common.identity.authorization import Caller
from common.invocations.schedules.rows import GET, LIST, ScheduleRow
from common.invocations.schedules.timing import Timing
from common.kit import clock, db, failpoints, jsonb
from common.kit.expecting import Expect, anything
from common.kit.outbound import OutboundClient
from common.kit.paging import Page, Window
from common.kit.query import Query
from common.models.accounts import User
from common.models.schedules import Schedule

MOST: Final = 100
#: Of all inputs of an account's schedules together, so that a page of them is no larger.
MAX_INPUT_BYTES: Final = 1024 * 1024
_HIGHEST: Final = UUID(int=2**128 - 1)
#: Attributes of the row that have other names than the fields.
_COLUMNS: Final = {"metadata": "metadata_"}
_NOW: Final = text("select date_trunc('second', clock_timestamp())")


class _Kept(NamedTuple):
    several: int
    bytes: int


_KEPT: Final = Query(
    """
select count(*) as several, coalesce(sum(octet_length(input::text)), 0)::bigint as bytes
  from schedules where user_id = :user_id and id <> :besides
""",
    _Kept,
)


class NewSchedule(TypedDict):
    """What a schedule is made of. `tool`: id or slug; exactly one of `cron` and `every_seconds`."""

    tool: str
    input: object
    cron: NotRequired[str]
    every_seconds: NotRequired[int]
    timezone: str
    webhook_url: str | None
    metadata: dict[str, str]
    max_tokens: int | None
    paused: bool


class Changes(TypedDict, total=False):
    """What an owner may change; each of `cron` and `every_seconds` replaces the other."""

    input: object
    cron: str
    every_seconds: int
    timezone: str
    webhook_url: str | None
    metadata: dict[str, str]
    max_tokens: int | None
    paused: bool


def create(
    caller: Caller,
    outbound: OutboundClient,
    *,
    once: idempotency.Once = None,
    **given: Unpack[NewSchedule],
) -> ScheduleRow:
    """Make a schedule.

    Raises:
        Invalid (there is no such tool; times that make no sense), ToolInputRejected, UrlRefused, IdempotencyKeyReused.
        Forbidden: the caller's key has limits.
        Conflict: the account has `MOST`, or their inputs are too large together.
        TokenRevoked: the account was deleted.
    """
    user_id = _unlimited(caller)
    _require_callable(user_id, given["tool"], given["input"], given["max_tokens"])
    _check_url(outbound, given["webhook_url"])
    row = Schedule(id=clock.uuid7(), user_id=user_id, tool_id=_tool(given["tool"]).id)
    with db.transaction() as session:
        if made := idempotency.claim(session, once, row.id):
            return _own(session, user_id, made.id)
        _lock(session, user_id)
        _set(row, given, _now(session))
        _refuse_too_much(session, row)
        session.add(row)
        session.flush()
        return _own(session, user_id, row.id)


def change(
    caller: Caller,
    schedule_id: UUID,
    outbound: OutboundClient,
    *,
    expect: Expect[ScheduleRow] = anything,
    **changes: Unpack[Changes],
) -> ScheduleRow:
    """Change a schedule. New times, and the end of a pause, count from now: what was missed is not made up.

    Raises what `create` and `expect` do, and `NotFound`.
    """
    user_id = _unlimited(caller)
    before = get(user_id, schedule_id)
    if {"input", "max_tokens"} & {*changes}:
        value, most = changes.get("input", before.input), changes.get("max_tokens", before.max_tokens)
        _require_callable(user_id, str(before.tool_id), value, most)
    _check_url(outbound, changes.get("webhook_url"))
    with db.transaction() as session:
        _lock(session, user_id)
        row = session.scalars(_owned(user_id, schedule_id).with_for_update()).one_or_none()
        if row is None:
            raise _not_found()
        expect(_own(session, user_id, schedule_id))
        failpoints.at("change.checked")
        _set(row, changes, _now(session))
        if session.is_modified(row):
            row.updated_at = func.now()
        _refuse_too_much(session, row)
        session.flush()
        return _own(session, user_id, schedule_id)


def get(user_id: UUID, schedule_id: UUID) -> ScheduleRow:
    """One of the account's schedules. Raises `NotFound`."""
    with db.snapshot() as session:
        return _own(session, user_id, schedule_id)


def listing(user_id: UUID, window: Window) -> Page[ScheduleRow]:
    """The account's schedules, newest first."""
    below = window.after[0] if window.after else _HIGHEST
    rows = db.execute(LIST, {"user_id": user_id, "below": below, "limit": window.limit + 1})
    return Page.cut(rows, window, lambda row: (row.id,))


def remove(user_id: UUID, schedule_id: UUID, *, expect: Expect[ScheduleRow] = anything) -> None:
    """Delete a schedule; the invocations that it made stay. Raises `NotFound`, and what `expect` does."""
    with db.transaction() as session:
        session.execute(_owned(user_id, schedule_id).with_for_update())
        expect(_own(session, user_id, schedule_id))
        failpoints.at("change.checked")
        session.execute(delete(Schedule).where(Schedule.id == schedule_id, Schedule.user_id == user_id))


def remove_all(session: Session, user_id: UUID) -> None:
    """Delete the account's schedules, in your transaction."""
    session.execute(delete(Schedule).where(Schedule.user_id == user_id))


# -- checks --------------------------------------------------------------------------------------------------------


def _unlimited(caller: Caller) -> UUID:
    """Whose schedules the caller may create and change: they submit for the account, and count against no key."""
    if caller.limits is not None:
        raise Forbidden(
            "An API key with an allowance or other limits cannot create or change schedules, because they "
            "submit for the whole account. Nothing was changed; use a session, or a key without limits."
        )
    return caller.user_id


def _tool(ref: str) -> tools.ListedTool:
    try:
        return tools.find(ref)
    except NotFound:
        raise Invalid(errors=[FieldError("/tool", "there is no such tool")]) from None


def _require_callable(user_id: UUID, tool: str, value: object, max_tokens: int | None) -> None:
    """As every submit is checked: a mistake is told to the person who makes it, not at night."""
    invocations.check(_tool(tool).current, value, max_tokens, user_id)


def _check_url(outbound: OutboundClient, url: str | None) -> None:
    if url is not None:
        webhooks.check_url(outbound, url, "/webhook_url")


def _lock(session: Session, user_id: UUID) -> None:
    """One change of an account's schedules at a time, so that together they do not exceed the limits."""
    living = select(User.id).where(User.id == user_id, User.deleted_at.is_(None))
    if session.scalar(living.with_for_update(key_share=True)) is None:
        raise TokenRevoked("The account was deleted. Nothing was changed.")


def _refuse_too_much(session: Session, row: Schedule) -> None:
    (others,) = db.fetch(session, _KEPT, {"user_id": row.user_id, "besides": row.id})
    if others.several >= MOST:
        raise Conflict(f"The limit of {MOST} schedules is reached. Nothing was created; delete one first.")
    if others.bytes + len(jsonb.dumps(row.input)) > MAX_INPUT_BYTES:
        raise Conflict("The inputs of an account's schedules are limited to 1 MiB in total. Nothing was changed.")


# -- writing -------------------------------------------------------------------------------------------------------


def _now(session: Session) -> datetime:
    now: datetime = session.execute(_NOW).scalar_one()
    return now


def _set(row: Schedule, given: Mapping[str, object], now: datetime) -> None:
    """Put what is given into the row. If its times are others now, they count from `now`."""
    before = (row.cron, row.every_seconds, row.timezone, row.paused)
    if {"cron", "every_seconds"} & {*given}:
        row.cron = row.every_seconds = None
    for name, value in given.items():
        if name != "tool":
            setattr(row, _COLUMNS.get(name, name), value)
        if name in ("input", "metadata"):
            setattr(row, f"{name}_as_sent", None if jsonb.as_sent(value) is None else value)
    if (row.cron, row.every_seconds, row.timezone, row.paused) != before:
        if row.every_seconds != before[1] or row.counted_from is None:
            row.counted_from = now
        timing = Timing(row.cron, row.every_seconds, row.timezone, row.counted_from)
        timing.check()
        row.next_at = row.due_at = None if row.paused else timing.after(now)


def _owned(user_id: UUID, schedule_id: UUID) -> Select[Schedule]:
    return select(Schedule).where(Schedule.id == schedule_id, Schedule.user_id == user_id)


def _own(session: Session, user_id: UUID, schedule_id: UUID) -> ScheduleRow:
    rows = db.fetch(session, GET, {"user_id": user_id, "id": schedule_id})
    if not rows:
        raise _not_found()
    return rows[0]


def _not_found() -> NotFound:
    return NotFound("Schedule not found.")
