"""`/usage/forecast`: how long the tokens of the current period last."""

from __future__ import annotations

import marshmallow as ma

from common import errors, subscriptions
from common.subscriptions import Forecast
from web.api.blueprint import Blueprint
from web.http import auth, large_reads
from web.http.fields import Instant, Number, Tokens
from web.http.schemas import Resource

blp = Blueprint("forecasts", __name__, url_prefix="/usage", description="How long the tokens last")


class PaceSchema(Resource):
    low = Number(required=True)
    middle = Number(required=True)
    high = Number(required=True)


class LastingSchema(Resource):
    low = Instant(required=True, allow_none=True)
    middle = Instant(required=True, allow_none=True)
    high = Instant(required=True, allow_none=True)


class ForecastSchema(Resource):
    available = Tokens(required=True, allow_none=True, metadata={"description": "Null: unlimited."})
    pace_per_day = ma.fields.Nested(
        PaceSchema,
        required=True,
        metadata={
            "description": "Tokens a day over the last 28 days, or since the first use: the mean, and the slowest and "
            "the fastest week (days, within the first two weeks)."
        },
    )
    lasts_until = ma.fields.Nested(
        LastingSchema,
        required=True,
        metadata={
            "description": "When `available` is used up at the pace of the same name; perhaps after `resets_at`. Null: "
            "not within ten years."
        },
    )
    resets_at = Instant(required=True, metadata={"description": "The end of the period."})


@blp.get("/forecast")
@auth.needs("usage:read")
@blp.response(200, ForecastSchema)
@blp.raises(errors.NotFound)
def forecast() -> Forecast:
    """How long the tokens of the period last; 404 if there never was a subscription"""
    large_reads.begin()
    return subscriptions.forecast(auth.caller().user_id)
