"""Webhook endpoints: who is told of what, under which secret, and what became of each delivery."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import marshmallow as ma
from flask import Response

from common import boot, errors, webhooks
from common.kit.paging import Page
from common.models.webhooks import COMPLETED, DISABLED_REASONS, EVENT_TYPES, FILTERS
from web.api.blueprint import Blueprint
from web.http import auth
from web.http.answers import answer, located
from web.http.fields import Flag, Id, Instant, Many, OneOrMore, Text, Whole, Word
from web.http.pagination import ListQuery
from web.http.schemas import Body, Resource

blp = Blueprint("webhooks", __name__, url_prefix="/webhooks", description="Being told, by Standard Webhooks 1.0.0")

STATUSES = ("pending", "delivered", "failed")


# -- schemas -----------------------------------------------------------------------------------------------------


def _url(**options: Any) -> Text:
    return Text(metadata={"description": "A public https URL without credentials.", "format": "uri"}, **options)


def _events(**options: Any) -> Many:
    doc = {"description": "Event types, or `completed` for the four ends of an invocation."}
    return Many(Word(*FILTERS), min=1, max=len(FILTERS), unique=True, metadata=doc, **options)


def _description(**options: Any) -> Text:
    return Text(max=500, blank=True, allow_none=True, **options)


class WebhookEndpointInSchema(Body):
    url = _url(required=True)
    events = _events(load_default=[COMPLETED])
    description = _description(load_default=None)


class WebhookEndpointChangesSchema(Body):
    url = _url()
    events = _events()
    description = _description()
    status = Word("enabled", "disabled", metadata={"description": "Enabling forgets earlier failures."})


class WebhookEndpointSchema(Resource):
    id = Id(required=True)
    url = Text(required=True)
    events = Many(Word(*FILTERS), required=True)
    description = Text(required=True, allow_none=True)
    status = Word("enabled", "disabled", required=True)
    disabled_reason = Word(*DISABLED_REASONS, required=True, allow_none=True)
    created_at = Instant(required=True)


class WebhookSecretSchema(Resource):
    secret = Text(required=True, metadata={"description": "`whsec_` and base64; what signatures are made with."})


class WebhookEndpointWithSecretSchema(WebhookEndpointSchema, WebhookSecretSchema):
    pass


class DeliveryAttemptSchema(Resource):
    at = Instant(required=True)
    http_status = Whole(required=True, allow_none=True)
    duration_ms = Whole(required=True)
    error = Text(required=True, allow_none=True, metadata={"description": "Null after a success."})
    response_excerpt = Text(required=True, allow_none=True, metadata={"description": "The first 2 kB of the answer."})


class DeliverySchema(Resource):
    id = Id(required=True)
    event_id = Id(required=True, metadata={"description": "The `webhook-id` of every attempt."})
    event_type = Word(*EVENT_TYPES, required=True)
    status = Word(*STATUSES, required=True)
    created_at = Instant(required=True)
    next_attempt_at = Instant(required=True, allow_none=True)
    attempts = Many(ma.fields.Nested(DeliveryAttemptSchema), required=True)


class DeliveryQuery(ListQuery):
    status = OneOrMore(Word(*STATUSES), max=len(STATUSES))


class ReplayInSchema(Body):
    since = Instant(required=True, metadata={"description": "Inclusive, on the `created_at` of the deliveries."})


class ReplaySchema(Resource):
    replayed = Whole(required=True, metadata={"description": "So many deliveries are on their way again."})
    has_more = Flag(required=True, metadata={"description": "The limit of one call was reached; call again."})


# -- endpoints ---------------------------------------------------------------------------------------------------


@blp.get("")
@auth.needs("webhooks:manage")
@blp.arguments(ListQuery, location="query")
@blp.page(WebhookEndpointSchema)
def index(query: dict[str, Any]) -> Page[Any]:
    """The account's endpoints"""
    return webhooks.endpoints(auth.caller().user_id, **query)


@blp.post("")
@auth.needs("webhooks:manage")
@blp.arguments(WebhookEndpointInSchema)
@blp.response(201, WebhookEndpointWithSecretSchema, headers=["Location"])
@blp.raises(errors.UrlRefused, errors.Conflict)
def create(body: dict[str, Any]) -> Response:
    """Add an endpoint

    The `secret` is told this once. An account can have 20.

    Private, loopback, link-local and metadata addresses, plain http and other ports than 80 and 443 are refused unless
    the operator allows their network, now and again at every attempt; a name is looked up at every attempt only. An
    event is sent at once, then after 5 seconds, 5 and 30 minutes, 2, 5, 10 and 10 hours, with jitter, until a 2xx;
    redirects are failures and not followed. 429 and 503 put it off by their `Retry-After`; 410, or 5 days of failures,
    disables the endpoint.
    """
    made = webhooks.create(auth.caller().user_id, boot.outbound(), **body)
    return answer(_with_secret(made), 201, located("webhooks.show", endpoint_id=made.endpoint.id))


@blp.get("/<uuid:endpoint_id>")
@auth.needs("webhooks:manage")
@blp.response(200, WebhookEndpointSchema)
def show(endpoint_id: UUID) -> Any:
    """One endpoint"""
    return webhooks.endpoint(auth.caller().user_id, endpoint_id)


@blp.patch("/<uuid:endpoint_id>")
@auth.needs("webhooks:manage")
@blp.arguments(WebhookEndpointChangesSchema)
@blp.response(200, WebhookEndpointSchema)
@blp.raises(errors.UrlRefused)
def edit(body: dict[str, Any], endpoint_id: UUID) -> Any:
    """Change, disable or enable an endpoint"""
    return webhooks.change(auth.caller().user_id, endpoint_id, boot.outbound(), **body)


@blp.delete("/<uuid:endpoint_id>")
@auth.needs("webhooks:manage")
@blp.response(204)
def remove(endpoint_id: UUID) -> None:
    """Delete an endpoint; what was not delivered yet never will be"""
    webhooks.remove(auth.caller().user_id, endpoint_id)


# -- secrets -----------------------------------------------------------------------------------------------------


@blp.post("/<uuid:endpoint_id>/rotate-secret")
@auth.needs("webhooks:manage")
@blp.response(200, WebhookEndpointWithSecretSchema)
def rotate_secret(endpoint_id: UUID) -> Response:
    """Replace the secret; for 24 hours the old one signs along"""
    return answer(_with_secret(webhooks.rotate_secret(auth.caller().user_id, endpoint_id)))


@blp.get("/default-secret")
@auth.needs("webhooks:manage")
@blp.response(200, WebhookSecretSchema)
def default_secret() -> Any:
    """What signs the webhooks to a `webhook_url` given with a call"""
    return {"secret": webhooks.default_secret(auth.caller().user_id).open()}


@blp.post("/default-secret/rotate")
@auth.needs("webhooks:manage")
@blp.response(200, WebhookSecretSchema)
def rotate_default_secret() -> Any:
    """Replace the default secret; for 24 hours the old one signs along"""
    return {"secret": webhooks.rotate_default_secret(auth.caller().user_id)}


def _with_secret(made: webhooks.Created) -> dict[str, Any]:
    return {**WebhookEndpointSchema().dump(made.endpoint), "secret": made.secret}


# -- deliveries --------------------------------------------------------------------------------------------------


@blp.post("/<uuid:endpoint_id>/test")
@auth.needs("webhooks:manage")
@blp.response(200, DeliveryAttemptSchema)
@blp.raises(errors.RateLimited)
def test(endpoint_id: UUID) -> Any:
    """Send a `webhook.test` now, once, and see what came of it

    The answer comes when the receiver's has, after 15 seconds at most. An endpoint takes 10 a minute.
    """
    return webhooks.test(auth.caller().user_id, endpoint_id, boot.outbound())


@blp.get("/<uuid:endpoint_id>/deliveries")
@auth.needs("webhooks:manage")
@blp.arguments(DeliveryQuery, location="query")
@blp.page(DeliverySchema)
def deliveries(query: dict[str, Any], endpoint_id: UUID) -> Page[Any]:
    """What was and will be sent to an endpoint, with every attempt"""
    statuses = query.pop("status", ())
    return webhooks.deliveries(auth.caller().user_id, endpoint_id, statuses=statuses, **query)


@blp.post("/<uuid:endpoint_id>/deliveries/<uuid:delivery_id>/resend")
@auth.needs("webhooks:manage")
@blp.response(200, DeliverySchema)
@blp.raises(errors.Conflict)
def resend(endpoint_id: UUID, delivery_id: UUID) -> Any:
    """Send one delivery again, under the same `webhook-id`, with the whole schedule before it

    60 a minute of an endpoint.
    """
    return webhooks.resend(auth.caller().user_id, endpoint_id, delivery_id)


@blp.post("/<uuid:endpoint_id>/replay")
@auth.needs("webhooks:manage")
@blp.arguments(ReplayInSchema)
@blp.response(200, ReplaySchema)
@blp.raises(errors.Conflict)
def replay(body: dict[str, Any], endpoint_id: UUID) -> Any:
    """Send again everything that failed since a time, oldest first

    10 times a minute of an endpoint. What is done by hand (tests, resends, replays) is limited for each account too:
    to 60 a minute for a host, 120 in all.
    """
    return webhooks.replay(auth.caller().user_id, endpoint_id, body["since"])
