"""The statement: a period as an account that sums to zero, recomputed on demand, on paper and as a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from flask import Response

from common import subscriptions
from common.kit.clock import rfc3339
from common.kit.paging import Window
from common.subscriptions import Statement
from common.subscriptions.statement import OtherHolds
from web.console import downloads, frame, lists
from web.console.blueprint import Context, action, blp, go, page
from web.http import auth, limits
from web.http.fields import Id
from web.http.pagination import ListArguments, ListQuery

#: A year of periods, and the present one.
PERIODS: Final = Window(13)
#: Holds that a page lists; the file has more.
MOST_HOLDS: Final = 30
_COLUMNS: Final = ("entry", "at", "what", "by", "tokens")


class PeriodQuery(ListQuery):
    period = Id()


class StatementAsked(ListArguments, total=False):
    """What `PeriodQuery` loads."""

    period: UUID


def asked() -> Context:
    """The statement that the address asks for, and the periods there are; none before the first subscription."""
    query: StatementAsked = lists.query(PeriodQuery)
    owner, glance = auth.caller(), frame.glance(auth.caller())
    if glance is not None and glance.meter is None:
        return {"statement": None}
    found = subscriptions.statement(owner.user_id, query.get("period"))
    return {
        "statement": found,
        "holds": found.holds[:MOST_HOLDS],
        "more": more_holds(found),
        "periods": subscriptions.listing(owner.user_id, PERIODS),
    }


def more_holds(found: Statement) -> OtherHolds:
    """The open holds that a page does not list."""
    rest = found.holds[MOST_HOLDS:]
    tokens = found.other_holds.tokens + sum(hold.tokens for hold in rest)
    return OtherHolds(found.other_holds.invocations + len(rest), tokens)


@blp.get("/statement")
@auth.needs("subscriptions:read")
@page("statement.html")
def statement() -> Context:
    """A period as an account."""
    return asked()


@blp.post("/statement/check")
@auth.needs("subscriptions:read")
@action("statement.html", again=asked)
def check_statement() -> Response:
    """Recompute it from every grant and run."""
    query: StatementAsked = lists.query(PeriodQuery)
    subscriptions.check(auth.caller().user_id, query.get("period"))
    return go("statement", period=query.get("period"), said="checked")


@blp.get("/statement/download")
@auth.needs("subscriptions:read")
def download_statement() -> Response:
    """The statement as CSV."""
    limits.count()
    query: StatementAsked = lists.query(PeriodQuery)
    found = subscriptions.statement(auth.caller().user_id, query.get("period"))
    name = f"statement-{found.period.starts_at:%Y-%m-%d}.csv"
    return downloads.csv_file(name, [_COLUMNS, *entries(found)])


download_statement.produces = ["text/csv"]  # type: ignore[attr-defined]


def entries(found: Statement) -> Iterator[tuple[object, ...]]:
    """The lines of an account; their tokens sum to zero (where there is a limit)."""
    for grant in found.grants:
        by = grant.actor_id or ("an operator" if grant.kind == "admin" else "the plan")
        yield "grant", rfc3339(grant.created_at), grant.reason, str(by), "" if grant.tokens is None else grant.tokens
    for day in found.charges:
        yield "charges", day.day.isoformat(), f"{day.invocations} ended", "", -day.tokens
    for hold in found.holds:
        yield "hold", rfc3339(hold.created_at), f"{hold.tool} {hold.invocation_id}", "", -hold.tokens
    if found.other_holds.invocations:
        yield "holds", "", f"{found.other_holds.invocations} more", "", -found.other_holds.tokens
    available = found.balance.shown_available
    yield "available", "", "", "", "" if available is None else -available
