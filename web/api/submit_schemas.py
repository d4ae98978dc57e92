"""Schemas for submitting invocations: the bodies of a submit, of a batch and of a rerun."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

import marshmallow as ma
from marshmallow import validate

from common import errors
from common.invocations import DEFAULT_EXPIRY, MAX_EXPIRY, SubmitFields
from common.models.webhooks import INVOCATION_FILTERS
from web.http.fields import Flag, Instant, Many, Metadata, Text, Tokens, Unread, Whole, Word
from web.http.schemas import Body, Resource

MAX_BATCH = 100
#: Why a submit is refused, whatever it submits.
REFUSALS = (
    errors.Conflict,
    errors.IdempotencyKeyReused,
    errors.ToolInputRejected,
    errors.BudgetExhausted,
    errors.StorageExhausted,
    errors.SubscriptionRequired,
    errors.EmailNotVerified,
    errors.RateLimited,
    errors.ToolUnavailable,
)


class SubmitInSchema(Body):
    input = ma.fields.Raw(
        required=True, allow_none=True, metadata={"description": "The input of the tool; see its `input_schema`."}
    )
    max_tokens = Tokens(metadata={"description": "Upper limit for the hold and the charge, at most that of the price."})
    expires_in = Whole(
        1, MAX_EXPIRY, load_default=DEFAULT_EXPIRY, metadata={"description": "Seconds until the deadline."}
    )
    metadata = Metadata(load_default=dict)
    end_user = Text(
        max=128, line=True, metadata={"description": "Whom you make it for, in your own words; lists can be filtered."}
    )
    not_before = Instant(
        metadata={
            "description": "It starts then, or as soon after as it can; at most 30 days ahead. Its tokens are held "
            "from now on, and `expires_in` counts from then. A time in the past is now."
        }
    )
    version = Whole(
        1, metadata={"description": "Refused (409, with the current `version`) if the tool has another by now."}
    )
    priority = Whole(
        -1, 1, metadata={"description": "-1, 0 (default) or 1: which of your own waiting invocations starts first."}
    )
    quote = Text(
        max=4096,
        metadata={
            "description": "A signed `quote` of this tool and input: its version and price hold, although the tool was "
            "edited since, and at most its `max_tokens` are held."
        },
    )
    stream = Flag(
        metadata={
            "description": "Show the answer while it is written, as `output.delta` in the invocation's events; for "
            "tools with `streaming`."
        }
    )
    webhook_url = Text(max=2048)
    webhook_events = Many(
        Word(*INVOCATION_FILTERS),
        min=1,
        max=len(INVOCATION_FILTERS),
        unique=True,
        metadata={"description": "Events sent to `webhook_url`; default: `completed`, the four final states."},
    )

    @ma.validates_schema
    def require_webhook_url(self, data: Mapping[str, object], **_: object) -> None:
        if "webhook_events" in data and "webhook_url" not in data:
            raise ma.ValidationError("Allowed only together with webhook_url.", "webhook_events")


class BatchItemSchema(SubmitInSchema):
    tool = Text(required=True, max=64, metadata={"description": "Id or slug."})
    idempotency_key = Text(max=255, validate=validate.Regexp(r"^[\x20-\x7e]+\Z"))


class BatchItem(SubmitFields):
    """What `BatchItemSchema` loads."""

    tool: str
    idempotency_key: NotRequired[str]


class BatchInSchema(Body):
    items = Many(Unread(BatchItemSchema), required=True, min=1, max=MAX_BATCH)


class BatchIn(TypedDict):
    """What `BatchInSchema` loads."""

    items: list[object]


class RerunInSchema(Body):
    input = ma.fields.Raw(allow_none=True, metadata={"description": "Default: that of the invocation."})
    metadata = Metadata(metadata={"description": "Default: those of the invocation."})
    max_tokens = Tokens(metadata={"description": "As of any submit; default: that of the price."})


class RerunIn(TypedDict, total=False):
    """What `RerunInSchema` loads."""

    input: object
    metadata: dict[str, str]
    max_tokens: int


class RerunPriceSchema(Resource):
    max_tokens = Tokens(
        required=True,
        allow_none=True,
        metadata={"description": "What it would hold without a limit. Null: the tool cannot be called any more."},
    )
    input_stored = Flag(required=True, metadata={"description": "False: a rerun has to send an input."})
