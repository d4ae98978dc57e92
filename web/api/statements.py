"""`/subscriptions/statement` and `/subscriptions/periods`: what was granted, charged and held, and what is left."""

from __future__ import annotations

from typing import TypedDict
from uuid import UUID

import marshmallow as ma

from common import errors, subscriptions
from common.kit.paging import Page
from common.models.base import MAX_TOKENS
from common.models.subscriptions import GRANT_KINDS
from common.subscriptions import BilledPeriod, LedgerCheck, PeriodBalance, Statement
from web.api.blueprint import Blueprint
from web.http import auth
from web.http.fields import Id, Instant, Text, Tokens, Whole, Word
from web.http.pagination import ListArguments, ListQuery
from web.http.responses import Shown
from web.http.schemas import QueryArguments, Resource

blp = Blueprint(
    "statements", __name__, url_prefix="/subscriptions", description="Periods and their statements, which sum to zero"
)
_UNLIMITED = {"description": "Null: unlimited."}


# -- schemas -----------------------------------------------------------------------------------------------------


class BilledPeriodSchema(Resource):
    id = Id(required=True)
    plan = Text(required=True, metadata={"description": "The slug of the plan."})
    starts_at = Instant(required=True)
    ends_at = Instant(required=True)
    status = Word(
        "current",
        "canceled",
        "closed",
        required=True,
        metadata={"description": "`canceled`: access ended before the period does."},
    )


class PeriodTokensSchema(Resource):
    granted = Tokens(required=True, allow_none=True, metadata=_UNLIMITED)
    charged = Tokens(required=True)
    held = Tokens(required=True)
    available = Tokens(required=True, allow_none=True, metadata=_UNLIMITED)


class PeriodSchema(BilledPeriodSchema):
    tokens = ma.fields.Nested(PeriodTokensSchema, required=True)


class GrantLineSchema(Resource):
    id = Id(required=True)
    kind = Word(
        *GRANT_KINDS,
        required=True,
        metadata={
            "description": "Granted by a `plan`, an `upgrade`, an `admin`; `carried`: what was left at the last "
            "period's end of a grant that expires later; `rollover`: the plan's share of what else was left; `expiry`: "
            "what was left of a grant that has expired, taken off."
        },
    )
    tokens = Tokens(
        -MAX_TOKENS,
        required=True,
        allow_none=True,
        metadata={"description": "Negative: taken back. Null: without limit."},
    )
    reason = Text(required=True)
    actor_id = Id(
        required=True, allow_none=True, metadata={"description": "The admin. Null: an operator or the platform."}
    )
    created_at = Instant(required=True)
    expires_at = Instant(required=True, allow_none=True, metadata={"description": "Null: at the end of the period."})
    source_id = Id(
        required=True,
        allow_none=True,
        metadata={"description": "The grant that has expired or is carried over, or the period that is rolled over."},
    )


class DayChargeSchema(Resource):
    day = ma.fields.Date(required=True, metadata={"description": "In UTC, when the invocations ended."})
    invocations = Whole(required=True, metadata={"description": "Charged or free."})
    tokens = Tokens(required=True)


class HoldLineSchema(Resource):
    invocation_id = Id(required=True)
    tool = Text(required=True, metadata={"description": "The slug of the tool."})
    tokens = Tokens(required=True)
    created_at = Instant(required=True)


class OtherHoldsSchema(Resource):
    invocations = Whole(required=True)
    tokens = Tokens(required=True)


class LedgerCheckSchema(Resource):
    at = Instant(required=True)
    rows = Whole(required=True, metadata={"description": "How many grants and invocations were read."})
    difference = Tokens(
        -MAX_TOKENS,
        required=True,
        metadata={
            "description": "What the statement has as `available`, less what the rows come to: 0 if it is right."
        },
    )


class StatementSchema(PeriodTokensSchema):
    period = ma.fields.Nested(BilledPeriodSchema, required=True)
    grants = ma.fields.List(ma.fields.Nested(GrantLineSchema), required=True)
    charges = ma.fields.List(ma.fields.Nested(DayChargeSchema), required=True)
    holds = ma.fields.List(
        ma.fields.Nested(HoldLineSchema),
        required=True,
        metadata={"description": "Of open invocations: the 100 oldest."},
    )
    other_holds = ma.fields.Nested(
        OtherHoldsSchema, required=True, metadata={"description": "Those that `holds` does not list."}
    )
    checked = ma.fields.Nested(
        LedgerCheckSchema,
        required=True,
        allow_none=True,
        metadata={"description": "The last check. Null: there was none."},
    )


class StatementQuery(QueryArguments):
    period = Id(metadata={"description": "The id of a period. Default: the current or last one."})


class StatementArguments(TypedDict, total=False):
    """What `StatementQuery` loads."""

    period: UUID


# -- views -------------------------------------------------------------------------------------------------------


@blp.get("/periods")
@auth.needs("subscriptions:read")
@blp.arguments(ListQuery, location="query")
@blp.page(PeriodSchema)
def periods(query: ListArguments) -> Page[Shown]:
    """The caller's periods and what they came to"""
    return subscriptions.listing(auth.caller().user_id, **query).map(_with_tokens)


@blp.get("/statement")
@auth.needs("subscriptions:read")
@blp.arguments(StatementQuery, location="query")
@blp.response(200, StatementSchema)
@blp.raises(errors.NotFound)
def show(query: StatementArguments) -> Shown:
    """The statement of a period

    The tokens of `grants`, less those of `charges`, `holds` and `other_holds`, less `available`, are zero: everything
    is read at one moment. (Without a limit, `granted` and `available` are null, and there is nothing to sum.)
    """
    return _shown(subscriptions.statement(auth.caller().user_id, query.get("period")))


@blp.post("/statement/check")
@auth.needs("subscriptions:read")
@blp.arguments(StatementQuery, location="query")
@blp.response(200, LedgerCheckSchema)
@blp.raises(errors.NotFound)
def check(query: StatementArguments) -> LedgerCheck:
    """Recompute a statement from its grants and every single invocation

    The result stays in the statement as `checked`. At most one check a minute.
    """
    return subscriptions.check(auth.caller().user_id, query.get("period"))


def _with_tokens(it: PeriodBalance) -> Shown:
    return {**_period(it.period), "tokens": it.balance.shown}


def _period(it: BilledPeriod) -> Shown:
    return it._asdict()


def _shown(it: Statement) -> Shown:
    lines = {name: getattr(it, name) for name in ("grants", "charges", "holds", "other_holds", "checked")}
    return {"period": _period(it.period), **it.balance.shown, **lines}
