# ruff: noqa: S608  (the statements are put together from constants)
"""The statement of a list: put together from what is asked for, so that each reads from the index that fits it.

One text with `(:owner is null or …)` for everything would be prepared once, and then read whole tables for some; a
bound that bounds nothing makes the planner believe in few rows, and sort them. A status is read where it lives: queued
and running are rows of the queue, the ends but success have an index of their own (`failure`). Each branch yields
its newest ids; the newest of all are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from common.invocations import filters
from common.invocations.filters import FAILURES, Filters
from common.invocations.views import PAYLOAD_BYTES, ViewRow, view
from common.kit.query import Query


class Found(NamedTuple):
    """How many rows there are, with the one more that is not shown."""

    found: int


class OpenRow(NamedTuple):
    """One of so many open invocations."""

    id: UUID
    found: int


#: Kinds of lists that a process keeps the statements of.
REMEMBERED: Final = 1_000


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
    matching: frozenset[str] = frozenset()

    @classmethod
    def of(cls, given: Filters, *, after: bool = False, payloads: bool = False) -> Kind:
        """`after`: a further page."""
        return cls(
            owner=given.owner is not None,
            tool=given.tool is not None,
            start=given.start is not None,
            end=given.end is not None,
            after=after,
            payloads=payloads,
            statuses=frozenset("failure" if status in FAILURES else status for status in given.statuses),
            matching=given.matching.names,
        )


@lru_cache(maxsize=REMEMBERED)
def statement(kind: Kind) -> Query[tuple[ViewRow, Found]]:
    """The statement of such a list: one constant text for each kind.

    Parameters: those of `Filters`, `limit` (one more than are shown) and `most` (bytes of `payloads`). Each row tells
    how many were `found`: with payloads the list ends where the next would be too much, but not before its first.
    """
    shown = _FITTING if kind.payloads else "select id from newest order by id desc limit :limit - 1"
    return Query.pair(
        f"""
with {_newest_of(kind)}, sized as ({_SIZED})
select v.*, (select count(*) from newest) as found
  from ({view("true" if kind.payloads else "false")} where i.id = any(array({shown}))) v order by v.id desc
""",
        ViewRow,
        Found,
    )


@lru_cache(maxsize=REMEMBERED)
def open_work(kind: Kind) -> Query[OpenRow]:
    """The open invocations of such a list, whatever its statuses say of the others: the newest `limit`, and how many.

    Parameters: those of `Filters`, and `limit`.
    """
    running = {"queued": "q.token is null", "running": "q.token is not null"}
    wanted = [running[status] for status in sorted(kind.statuses & {*running})]
    where = [
        "p.user_id = :user_id",
        f"({' or '.join(wanted) if wanted else 'false' if kind.statuses else 'true'})",
        *filters.conditions(kind.matching),
        *_within(kind, "q"),
    ]
    return Query(
        f"""
with found as materialized (
  select q.id from periods p join queue q on q.period_id = p.id join invocations i on i.id = q.id
   where {" and ".join(where)})
select id, (select count(*) from found) as found from found order by id desc limit :limit
""",
        OpenRow,
    )


def _newest_of(kind: Kind) -> str:
    """The newest ids."""
    branches = _branches(kind, sorted(kind.statuses or ("any",)), filters.source(kind.matching))
    return (
        f"newest as materialized (select x.id from ({' union all '.join(branches)}) x order by x.id desc limit :limit)"
    )


def _branches(kind: Kind, statuses: list[str], invocations: str) -> list[str]:
    found = []
    for status in statuses:
        if status in _OF_QUEUE:
            found.append(_OF_QUEUE[status](kind))
        else:
            found += [_ENDED[status](kind, invocations, look) for look in filters.looks(kind.matching)]
    return found


_SIZED = f"""
select i.id, row_number() over w as n, sum({PAYLOAD_BYTES}) over w as bytes
  from newest join invocations i on i.id = newest.id window w as (order by i.id desc)"""
_FITTING = "select id from sized where n < :limit and (bytes <= :most or n = 1)"


def _any(kind: Kind, invocations: str, *conditions: str) -> str:
    owner = ["i.user_id = :user_id"] if kind.owner else []
    return _newest(invocations, [*owner, *conditions], kind, "i")


def _succeeded(kind: Kind, invocations: str, look: str) -> str:
    return _any(kind, invocations, look, "i.status = 'succeeded'")


def _failure(kind: Kind, invocations: str, look: str) -> str:
    found = _any(kind, invocations, look, "i.failure = s.status")
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
    return "queue q join invocations i on i.id = q.id" if kind.start or kind.end or kind.matching else "queue q"


_OF_QUEUE: Final = {"queued": _queued, "running": _running}
_ENDED: Final[dict[str, Callable[[Kind, str, str], str]]] = {
    "any": _any,
    "succeeded": _succeeded,
    "failure": _failure,
}


def _newest(table: str, conditions: list[str], kind: Kind, name: str) -> str:
    every = [*conditions, *filters.conditions(kind.matching), *_within(kind, name)]
    where = f"where {' and '.join(every)}" if every else ""
    return f"(select {name}.id from {table} {where} order by {name}.id desc limit :limit)"


def _within(kind: Kind, name: str) -> list[str]:
    """The conditions of tool, time and page."""
    found = []
    if kind.tool:
        found.append(f"{name}.tool_id = (select id from tools where slug = :tool or id::text = :tool)")
    if kind.start:
        found += [f"{name}.id >= :low", "i.created_at >= :from"]
    if kind.end:
        found.append("i.created_at < :to")
    if kind.end or kind.after:
        found.append(f"{name}.id < :below")
    return found
