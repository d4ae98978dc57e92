"""Schemas for quotes."""

from __future__ import annotations

from typing import NotRequired, TypedDict

import marshmallow as ma

from web.api.invocation_schemas import InvokedToolSchema, PriceSchema, RequestedToolSchema, WaitingSchema
from web.http.fields import Flag, Text, Tokens, Whole
from web.http.schemas import Body, Resource


class QuoteInSchema(Body):
    input = ma.fields.Raw(required=True, allow_none=True)
    max_tokens = Tokens()


class QuoteIn(TypedDict):
    """What `QuoteInSchema` loads."""

    input: object
    max_tokens: NotRequired[int]


class QuoteSchema(Resource):
    tool = ma.fields.Nested(InvokedToolSchema, required=True, metadata={"description": "What would run."})
    requested_tool = ma.fields.Nested(
        RequestedToolSchema,
        required=True,
        allow_none=True,
        metadata={"description": "The tool that was asked for, if its fallback would run instead."},
    )
    version = Whole(required=True, metadata={"description": "The tool's version that would run."})
    price = ma.fields.Nested(PriceSchema, required=True, metadata={"description": "That of the version."})
    max_tokens = Tokens(required=True, metadata={"description": "Tokens that would be held."})
    max_units = ma.fields.Integer(
        required=True,
        allow_none=True,
        metadata={
            "description": "Units (`price.per_unit.unit`) that `max_tokens` pays for; null if units are free. A call "
            "that uses more ends as `failed` with `cost_exceeded` if your `max_tokens` is below the price's."
        },
    )
    expected_tokens = Tokens(
        required=True,
        allow_none=True,
        metadata={
            "description": "The median of what the tool's latest calls at this price were charged, at most "
            "`max_tokens`; null if there were fewer than 20."
        },
    )
    available = Tokens(required=True, allow_none=True, metadata={"description": "Null: unlimited."})
    allowed = Flag(required=True)
    reason = Text(
        required=True, allow_none=True, metadata={"description": "The error code of a refusal; null if allowed."}
    )
    waiting = ma.fields.Nested(
        WaitingSchema,
        required=True,
        allow_none=True,
        metadata={"description": "What would keep the invocation from starting at once; null: nothing."},
    )
    estimated_wait_seconds = Whole(required=True)
    quote = Text(
        required=True,
        allow_none=True,
        metadata={
            "description": "A JWS (EdDSA; keys at `/.well-known/jwks.json`) of the version, the price and `max_tokens` "
            "for this account and input. Sent back as `quote` of a submit within 300 seconds, they hold although the "
            "tool was edited. Null: the input has a number beyond what a double can hold."
        },
    )
