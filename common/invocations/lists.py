# ruff: noqa: S608  (the statements are put together from constants)
"""The statement of a list: put together from what is asked for, so that each reads from the index that fits it.

One text with `(:owner is null or …)` for everything would be prepared once, and then read whole tables for some; a
bound that bounds nothing makes the planner believe in few rows, and sort them. A status is read where it lives: queued
and running are rows of the queue, the ends but success have an index of their own (`is_failure`). Each branch yields
its newest ids; the newest of all are shown.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from common.invocations.model import ENDS
from common.invocations.views import PAYLOAD_BYTES, ViewRow, view
from common.kit.query import Query


class Found(NamedTuple):
    """How many rows there are, with the one more that is not shown."""

    found: int


FAILURES: Final = tuple(status for status in ENDS if status != "succeeded")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a list is restricted by; `statuses` empty: any."""

    owner: bool
    tool: bool
    start: bool
    end: bool
    after: bool
    payloads: bool
    statuses: frozenset[str]


def statement(
    *, owner: object, tool: object, start: object, end: object, after: object, payloads: bool, statuses: Collection[str]
) -> Query[tuple[ViewRow, Found]]:
    """The statement of a list with these restrictions (None: none): one constant text for each kind of list.

    Parameters: `user_id`, `tool`, `from`, `to`, `low` and `below` (ids: inclusive, exclusive), `failures` (statuses),
    `limit` (one more than are shown), `most` (bytes of `payloads`); each only where it restricts. Each row tells how
    many were `found`: with payloads the list ends where the next would be too much, but not before its first.
    """
    kind = Kind(
        owner=owner is not None,
        tool=tool is not None,
        start=start is not None,
        end=end is not None,
        after=after is not None,
        payloads=payloads,
        statuses=frozenset("is_failure" if status in FAILURES else status for status in statuses),
    )
    return _statement(kind)


@cache
def _statement(kind: Kind) -> Query[tuple[ViewRow, Found]]:
    branches = [_BRANCHES[status](kind) for status in sorted(kind.statuses or ("any",))]
    newest = f"select x.id from ({' union all '.join(branches)}) x order by x.id desc limit :limit"
    shown = _FITTING if kind.payloads else "select id from newest order by id desc limit :limit - 1"
    return Query.pair(
        f"""
with newest as materialized ({newest}), sized as ({_SIZED})
select v.*, (select count(*) from newest) as found
  from ({view("true" if kind.payloads else "false")} where i.id = any(array({shown}))) v order by v.id desc
""",
        ViewRow,
        Found,
    )


_SIZED = f"""
select i.id, row_number() over w as n, sum({PAYLOAD_BYTES}) over w as bytes
  from newest join invocations i on i.id = newest.id window w as (order by i.id desc)"""
_FITTING = "select id from sized where n < :limit and (bytes <= :most or n = 1)"


def _any(kind: Kind, *conditions: str) -> str:
    owner = ["i.user_id = :user_id"] if kind.owner else []
    return _newest("invocations i", [*owner, *conditions], kind, "i")


def _succeeded(kind: Kind) -> str:
    return _any(kind, "i.status = 'succeeded'")


def _failure(kind: Kind) -> str:
    found = _any(kind, "i.is_failure", "i.status = s.status")
    return f"(select x.id from unnest(cast(:failures as text[])) s(status) cross join lateral {found} x)"


def _queued(kind: Kind) -> str:
    """The queue knows periods, of which an account has few."""
    if not kind.owner:
        return _newest(_queue(kind), ["q.token is null"], kind, "q")
    found = _newest(_queue(kind), ["q.period_id = p.id", "q.token is null"], kind, "q")
    return f"(select x.id from periods p cross join lateral {found} x where p.user_id = :user_id)"


def _running(kind: Kind) -> str:
    owner = ["q.user_id = :user_id"] if kind.owner else []
    return _newest(_queue(kind), ["q.lease_expires_at is not null", *owner], kind, "q")


def _queue(kind: Kind) -> str:
    return "queue q join invocations i on i.id = q.id" if kind.start or kind.end else "queue q"


_BRANCHES: Final = {
    "any": _any,
    "succeeded": _succeeded,
    "is_failure": _failure,
    "queued": _queued,
    "running": _running,
}


def _newest(table: str, conditions: list[str], kind: Kind, name: str) -> str:
    if kind.tool:
        conditions = [*conditions, f"{name}.tool_id = (select id from tools where slug = :tool or id::text = :tool)"]
    if kind.start:
        conditions = [*conditions, f"{name}.id >= :low", "i.created_at >= :from"]
    if kind.end:
        conditions = [*conditions, "i.created_at < :to"]
    if kind.end or kind.after:
        conditions = [*conditions, f"{name}.id < :below"]
    where = f"where {' and '.join(conditions)}" if conditions else ""
    return f"(select {name}.id from {table} {where} order by {name}.id desc limit :limit)"
