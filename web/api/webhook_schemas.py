"""Schemas of webhook endpoints, their secrets and their deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import NotRequired, TypedDict

import marshmallow as ma
from marshmallow import validate

from common.models.webhooks import COMPLETED, DISABLED_REASONS, EVENT_TYPES, FILTERS, INCLUDES, PAYLOADS
from web.http.fields import Flag, Id, Instant, Many, OneOrMore, Pairs, Text, Whole, Word
from web.http.pagination import ListArguments, ListQuery
from web.http.schemas import Body, QueryArguments, Resource

STATUSES = ("pending", "delivered", "failed")
SINCE = "Inclusive, on the `created_at` of the deliveries."


def _url(*, required: bool = False) -> Text:
    doc = {"description": "A public https URL without credentials.", "format": "uri"}
    return Text(required=required, metadata=doc)


def _events(load_default: object = ma.missing) -> Many:
    doc = {"description": "Event types, or `completed` for the four final states of an invocation."}
    return Many(Word(*FILTERS), min=1, max=len(FILTERS), unique=True, metadata=doc, load_default=load_default)


def _description(load_default: object = ma.missing) -> Text:
    return Text(max=500, blank=True, allow_none=True, load_default=load_default)


def _rate_limit() -> Whole:
    doc = {"description": "Deliveries that begin in one second, at most; the others wait. Null: no limit."}
    return Whole(1, 1_000, allow_none=True, metadata=doc)


def _headers() -> Pairs:
    doc = {
        "description": "Sent along with every delivery. Values are stored encrypted and never shown; a change replaces "
        "all headers, and keeps the value of those that are `[redacted]`."
    }
    name, value = (
        ma.fields.String(validate=validate.Length(1, 200)),
        ma.fields.String(validate=validate.Length(1, 4096)),
    )
    return Pairs(keys=name, values=value, validate=validate.Length(max=20), metadata=doc)


def _payload() -> Word:
    doc = {"description": "`thin`: of an invocation, only `id`, `status` and `links`."}
    return Word(*PAYLOADS, metadata=doc)


def _include() -> Many:
    doc = {
        "description": "`receipt`: of an invocation that has ended, `billing.receipt` is its signed receipt. Not in a "
        "`thin` payload."
    }
    return Many(Word(*INCLUDES), max=len(INCLUDES), unique=True, metadata=doc)


class WebhookEndpointInSchema(Body):
    url = _url(required=True)
    events = _events(load_default=[COMPLETED])
    description = _description(load_default=None)
    rate_limit_per_second = _rate_limit()
    headers = _headers()
    payload = _payload()
    include = _include()


class WebhookEndpointIn(TypedDict):
    """What `WebhookEndpointInSchema` loads."""

    url: str
    events: list[str]
    description: str | None
    rate_limit_per_second: NotRequired[int | None]
    headers: NotRequired[dict[str, str]]
    payload: NotRequired[str]
    include: NotRequired[list[str]]


class WebhookEndpointChangesSchema(Body):
    url = _url()
    events = _events()
    description = _description()
    status = Word("enabled", "disabled", metadata={"description": "Enabling resets the record of failures."})
    rate_limit_per_second = _rate_limit()
    headers = _headers()
    payload = _payload()
    include = _include()


class WebhookEndpointChanges(TypedDict, total=False):
    """What `WebhookEndpointChangesSchema` loads."""

    url: str
    events: list[str]
    description: str | None
    status: str
    rate_limit_per_second: int | None
    headers: dict[str, str]
    payload: str
    include: list[str]


class WebhookEndpointSchema(Resource):
    id = Id(required=True)
    url = Text(required=True)
    events = Many(Word(*FILTERS), required=True)
    description = Text(required=True, allow_none=True)
    status = Word("enabled", "disabled", required=True)
    disabled_reason = Word(*DISABLED_REASONS, required=True, allow_none=True)
    rate_limit_per_second = Whole(required=True, allow_none=True)
    headers = ma.fields.Dict(
        keys=ma.fields.String(),
        values=ma.fields.String(),
        required=True,
        metadata={"description": "Every value is `[redacted]`."},
    )
    payload = Word(*PAYLOADS, required=True)
    include = Many(Word(*INCLUDES), required=True)
    created_at = Instant(required=True)


class WebhookEndpointStateSchema(WebhookEndpointSchema):
    """What its ETag is of: values of headers are not shown, and yet a change of one is a change."""

    encrypted_headers = Text()


class WebhookSecretSchema(Resource):
    secret = Text(required=True, metadata={"description": "The signing secret: `whsec_` and base64."})


class WebhookEndpointWithSecretSchema(WebhookEndpointSchema, WebhookSecretSchema):
    pass


class DeliveryAttemptSchema(Resource):
    at = Instant(required=True)
    http_status = Whole(required=True, allow_none=True)
    duration_ms = Whole(required=True)
    error = Text(required=True, allow_none=True, metadata={"description": "Null if the attempt succeeded."})
    response_excerpt = Text(required=True, allow_none=True, metadata={"description": "The first 2 kB of the response."})


class DeliverySchema(Resource):
    id = Id(required=True)
    event_id = Id(required=True, metadata={"description": "The `webhook-id` of every attempt."})
    event_type = Word(*EVENT_TYPES, required=True)
    status = Word(*STATUSES, required=True)
    created_at = Instant(required=True)
    next_attempt_at = Instant(required=True, allow_none=True)
    attempts = Many(ma.fields.Nested(DeliveryAttemptSchema), required=True)


class InvocationDeliverySchema(DeliverySchema):
    endpoint_id = Id(required=True, allow_none=True, metadata={"description": "Null: the `webhook_url` of the call."})


class DeliveryQuery(ListQuery):
    status = OneOrMore(Word(*STATUSES), max=len(STATUSES))


class DeliveryArguments(ListArguments):
    """What `DeliveryQuery` loads."""

    status: NotRequired[list[str]]


class EndpointHealthSchema(Resource):
    """What became of the last 50 deliveries to an endpoint, and the newest attempt of them; null without one."""

    delivered = Whole(required=True)
    failed = Whole(required=True)
    pending = Whole(required=True)
    at = Instant(required=True, allow_none=True)
    http_status = Whole(required=True, allow_none=True)
    error = Text(required=True, allow_none=True, metadata={"description": "Null if the attempt succeeded."})


class ReplayQuery(QueryArguments):
    since = Instant(required=True, metadata={"description": SINCE})


class ReplayableSchema(Resource):
    count = Whole(required=True, metadata={"description": "At most 10,000, as many as one replay queues again."})


class ReplayInSchema(Body):
    since = Instant(required=True, metadata={"description": SINCE})


class ReplayIn(TypedDict):
    """What `ReplayInSchema` loads."""

    since: datetime


class ReplaySchema(Resource):
    replayed = Whole(required=True, metadata={"description": "Number of deliveries queued again."})
    has_more = Flag(
        required=True, metadata={"description": "The limit of one call was reached; call again for the rest."}
    )
