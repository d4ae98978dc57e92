# ruff: noqa: S608  (the statements are put together from constants)
"""The statement of a list: put together from what is asked for, so that each reads from the index that fits it.

One text with `(:owner is null or …)` for everything would be prepared once, and then read whole tables for some; a
bound that bounds nothing makes the planner believe in few rows, and sort them. A status is read where it lives: queued
and running are rows of the queue, the ends but success have an index of their own (`failure`). Each branch yields
its newest ids; the newest of all are shown.
"""

from __future__ import annotations

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


#: The most rows of an ordinary page, and one more. The planner takes a limit that it does not know for a tenth of all
#: rows, and then plans each page anew with its values, which takes longer than reading it.
PAGE: Final = 101


@dataclass(frozen=True, slots=True)
class Kind:
    """What a list is restricted by; `statuses` empty: any. `most`: no page has more rows."""

    owner: bool
    tool: bool
    start: bool
    end: bool
    after: bool
    payloads: bool
    statuses: frozenset[str]
    matching: frozenset[str] = frozenset()
    most: int = PAGE

    @classmethod
    def of(cls, given: Filters, *, after: bool = False, payloads: bool = False, limit: int = PAGE) -> Kind:
        """`after`: a further page."""
        return cls(
            owner=given.owner is not None,
            tool=given.tool is not None,
            start=given.start is not None,
            end=given.end is not None,
            after=after,
            payloads=payloads,
            statuses=frozenset(given.statuses),
            matching=given.matching.names,
            most=max(limit, PAGE),
        )

    @property
    def near(self) -> bool:
        """Whether ended invocations are looked for by the time in their ids, and once more where clocks differ."""
        return self.owner and (self.start or self.end) and filters.source(self.matching) == filters.INVOCATIONS

    @property
    def plain(self) -> bool:
        """Whether nothing is asked but whose, and when: then the newest are found at once."""
        return self.statuses <= {"succeeded", *_OF_QUEUE} and not self.tool and not self.matching


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
    both = " union " if kind.near else " union all "
    return f"newest as materialized (select x.id from ({both.join(branches)}) x order by x.id desc limit :limit)"


def _branches(kind: Kind, statuses: list[str], invocations: str) -> list[str]:
    found = []
    for status in statuses:
        if status in _OF_QUEUE:
            found.append(_OF_QUEUE[status](kind))
        else:
            found += [
                look
                for condition in filters.looks(kind.matching)
                for look in _looks(kind, invocations, [condition, _ENDED[status]])
            ]
    return found


def _looks(kind: Kind, invocations: str, conditions: list[str]) -> list[str]:
    """All rows that match; or those of about the time that is asked for, and those whose clocks differ."""
    owner = ["i.user_id = :user_id"] if kind.owner else []
    if not kind.near:
        return [_newest(invocations, [*owner, *conditions, *_within(kind, "i")], kind, "i")]
    skewed = _newest(filters.CLOCKS_DIFFER, [*conditions, *_within(kind, "i")], kind, "i")
    if kind.plain:
        return [_newest(invocations, [*conditions, *_OWN, *_made_within(kind)], kind, "i", "i.user_id desc, "), skewed]
    return [_newest(invocations, [*owner, *conditions, *_within(kind, "i", near=True)], kind, "i"), skewed]


def _and(*conditions: str) -> str:
    return " and ".join(conditions)


_SIZED = f"""
select i.id, row_number() over w as n, sum({PAYLOAD_BYTES}) over w as bytes
  from newest join invocations i on i.id = newest.id window w as (order by i.id desc)"""
_FITTING = "select id from sized where n < :limit and (bytes <= :most or n = 1)"


def _queued(kind: Kind) -> str:
    """The queue knows periods, of which an account has few."""
    if not kind.owner:
        return _newest(_queue(kind), ["q.token is null", *_within(kind, "q")], kind, "q")
    found = _newest(_queue(kind), ["q.period_id = p.id", "q.token is null", *_within(kind, "q")], kind, "q")
    return f"(select x.id from periods p cross join lateral {found} x where p.user_id = :user_id)"


def _running(kind: Kind) -> str:
    owner = ["q.user_id = :user_id"] if kind.owner else []
    return _newest(_queue(kind), ["q.lease_expires_at is not null", *owner, *_within(kind, "q")], kind, "q")


def _queue(kind: Kind) -> str:
    return "queue q join invocations i on i.id = q.id" if kind.start or kind.end or kind.matching else "queue q"


_OF_QUEUE: Final = {"queued": _queued, "running": _running}
_ENDED: Final = {
    "any": "true",
    "succeeded": "i.status = 'succeeded'",
    **{status: f"i.failure = '{status}'" for status in FAILURES},
}
#: Those of the account, by ids, as nothing but the index of accounts and ids can answer it: the planner would rather
#: read everybody's, newest first.
_OWN: Final = ("(i.user_id, i.id) >= (:user_id, :near_low)", "(i.user_id, i.id) < (:user_id, :near_below)")


def _newest(table: str, conditions: list[str], kind: Kind, name: str, order: str = "") -> str:
    """`order`: what comes before the id."""
    where = _and(*conditions, *filters.conditions(kind.matching))
    newest = f"select {name}.id from {table} where {where} order by {order}{name}.id desc limit {kind.most}"
    return f"(select n.id from ({newest}) n order by n.id desc limit :limit)"


def _within(kind: Kind, name: str, *, near: bool = False) -> list[str]:
    """The conditions of tool, time and page. `near`: of rows whose id is of about the time that they were made at."""
    low, below = (":near_low", ":near_below") if near else (":low", ":below")
    found = []
    if kind.tool:
        found.append(f"{name}.tool_id = (select id from tools where slug = :tool or id::text = :tool)")
    if kind.start:
        found.append(f"{name}.id >= {low}")
    if kind.end or kind.after:
        found.append(f"{name}.id < {below}")
    return [*found, *_made_within(kind)]


def _made_within(kind: Kind) -> list[str]:
    """(`is true`: two bounds together look to the planner as if next to nothing were between them.)"""
    return ["(i.created_at >= :from) is true"] * kind.start + ["(i.created_at < :to) is true"] * kind.end
