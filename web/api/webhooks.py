"""`/webhooks`: endpoints, their secrets and their deliveries."""

from __future__ import annotations

from uuid import UUID

from common import boot, errors, webhooks
from common.identity.idempotency import Once
from common.kit.expecting import Expect
from common.kit.paging import Page
from common.models.webhooks import WebhookEndpoint
from web.api.blueprint import Blueprint
from web.api.webhook_schemas import (
    DeliveryArguments,
    DeliveryAttemptSchema,
    DeliveryQuery,
    DeliverySchema,
    EndpointHealthSchema,
    ReplayableSchema,
    ReplayIn,
    ReplayInSchema,
    ReplayQuery,
    ReplaySchema,
    WebhookEndpointChanges,
    WebhookEndpointChangesSchema,
    WebhookEndpointIn,
    WebhookEndpointInSchema,
    WebhookEndpointSchema,
    WebhookEndpointStateSchema,
    WebhookEndpointWithSecretSchema,
    WebhookSecretSchema,
)
from web.http import auth
from web.http.pagination import ListArguments, ListQuery
from web.http.responses import Headers, Shown, location

blp = Blueprint("webhooks", __name__, url_prefix="/webhooks", description="Webhook endpoints (Standard Webhooks 1.0.0)")


# -- endpoints ---------------------------------------------------------------------------------------------------


@blp.get("")
@auth.needs("webhooks:manage")
@blp.arguments(ListQuery, location="query")
@blp.page(WebhookEndpointSchema)
def index(query: ListArguments) -> Page[WebhookEndpoint]:
    """The account's endpoints"""
    return webhooks.endpoints(auth.caller().user_id, **query)


@blp.post("")
@auth.needs("webhooks:manage")
@blp.arguments(WebhookEndpointInSchema)
@blp.response(201, WebhookEndpointWithSecretSchema, headers=["Location"])
@blp.raises(errors.UrlRefused, errors.Conflict)
@blp.idempotent
@blp.tagged(WebhookEndpointStateSchema)
def create(body: WebhookEndpointIn, once: Once) -> tuple[Shown, Headers]:
    """Add an endpoint

    The `secret` is shown only here and after a rotation. An account can have 20 endpoints.

    Private, loopback, link-local and metadata addresses, plain http, and ports other than 80 and 443 are refused unless
    the operator allows their network. This is checked now and before every attempt; host names are resolved only before
    an attempt. An event is sent immediately, then after 5 seconds, 5 and 30 minutes, 2, 5, 10 and 10 hours, with
    jitter, until the response is 2xx. Redirects are not followed and count as failures. 429 and 503 delay the next
    attempt by their `Retry-After`; 410, or 5 days of failures, disables the endpoint.

    `headers` cannot be those of Standard Webhooks, `Host`, `Content-…`, nor those of the connection. A body above
    256 kB is sent as if `payload` were `thin`, with `"truncated": true`.
    """
    made = webhooks.create(auth.caller().user_id, boot.outbound(), **body, once=once)
    return _with_secret(made), location(".show", endpoint_id=made.endpoint.id)


@blp.get("/<uuid:endpoint_id>")
@auth.needs("webhooks:manage")
@blp.response(200, WebhookEndpointSchema)
@blp.tagged(WebhookEndpointStateSchema)
def show(endpoint_id: UUID) -> WebhookEndpoint:
    """One endpoint"""
    return webhooks.endpoint(auth.caller().user_id, endpoint_id)


@blp.patch("/<uuid:endpoint_id>")
@auth.needs("webhooks:manage")
@blp.arguments(WebhookEndpointChangesSchema)
@blp.response(200, WebhookEndpointSchema)
@blp.raises(errors.UrlRefused)
@blp.tagged(WebhookEndpointStateSchema)
def edit(body: WebhookEndpointChanges, endpoint_id: UUID, expect: Expect[WebhookEndpoint]) -> WebhookEndpoint:
    """Change, disable or enable an endpoint"""
    return webhooks.change(auth.caller().user_id, endpoint_id, boot.outbound(), expect=expect, **body)


@blp.delete("/<uuid:endpoint_id>")
@auth.needs("webhooks:manage")
@blp.response(204)
@blp.matched(WebhookEndpointStateSchema)
def remove(endpoint_id: UUID, expect: Expect[WebhookEndpoint]) -> None:
    """Delete an endpoint; its pending deliveries are dropped"""
    webhooks.remove(auth.caller().user_id, endpoint_id, expect=expect)


@blp.get("/<uuid:endpoint_id>/health")
@auth.needs("webhooks:manage")
@blp.response(200, EndpointHealthSchema)
def health(endpoint_id: UUID) -> webhooks.Health:
    """How an endpoint is doing: its last 50 deliveries by status, and the last answer"""
    return webhooks.health_of(auth.caller().user_id, endpoint_id)


# -- secrets -----------------------------------------------------------------------------------------------------


@blp.post("/<uuid:endpoint_id>/rotate-secret")
@auth.needs("webhooks:manage")
@blp.response(200, WebhookEndpointWithSecretSchema)
@blp.idempotent
@blp.tagged(WebhookEndpointStateSchema)
def rotate_secret(endpoint_id: UUID, once: Once) -> Shown:
    """Replace the secret; for 24 hours webhooks are also signed with the old one"""
    return _with_secret(webhooks.rotate_secret(auth.caller().user_id, endpoint_id, once=once))


@blp.get("/default-secret")
@auth.needs("webhooks:manage")
@blp.response(200, WebhookSecretSchema)
def default_secret() -> Shown:
    """The secret that signs webhooks to the `webhook_url` of an invocation"""
    return {"secret": webhooks.default_secret(auth.caller().user_id).open()}


@blp.post("/default-secret/rotate")
@auth.needs("webhooks:manage")
@blp.response(200, WebhookSecretSchema)
@blp.idempotent
def rotate_default_secret(once: Once) -> Shown:
    """Replace the default secret; for 24 hours webhooks are also signed with the old one"""
    return {"secret": webhooks.rotate_default_secret(auth.caller().user_id, once=once)}


def _with_secret(made: webhooks.CreatedEndpoint) -> Shown:
    shown = {name: getattr(made.endpoint, name) for name in WebhookEndpointStateSchema().fields}
    return {**shown, "secret": made.secret}


# -- deliveries --------------------------------------------------------------------------------------------------


@blp.post("/<uuid:endpoint_id>/test")
@auth.needs("webhooks:manage")
@blp.response(200, DeliveryAttemptSchema)
@blp.raises(errors.RateLimited)
def test(endpoint_id: UUID) -> webhooks.AttemptResult:
    """Send one `webhook.test` now and return the result

    The response comes when the receiver has responded, after at most 15 seconds. At most 10 a minute per endpoint.
    """
    return webhooks.test(auth.caller().user_id, endpoint_id, boot.outbound())


@blp.get("/<uuid:endpoint_id>/deliveries")
@auth.needs("webhooks:manage")
@blp.arguments(DeliveryQuery, location="query")
@blp.page(DeliverySchema)
def deliveries(query: DeliveryArguments, endpoint_id: UUID) -> Page[webhooks.DeliveryRecord]:
    """Past and pending deliveries to an endpoint, with every attempt"""
    return webhooks.deliveries(auth.caller().user_id, endpoint_id, query["window"], query.get("status", ()))


@blp.get("/<uuid:endpoint_id>/deliveries/<uuid:delivery_id>")
@auth.needs("webhooks:manage")
@blp.response(200, DeliverySchema)
def delivery(endpoint_id: UUID, delivery_id: UUID) -> webhooks.DeliveryRecord:
    """One delivery to an endpoint, with every attempt"""
    return webhooks.delivery(auth.caller().user_id, endpoint_id, delivery_id)


@blp.post("/<uuid:endpoint_id>/deliveries/<uuid:delivery_id>/resend")
@auth.needs("webhooks:manage")
@blp.response(200, DeliverySchema)
@blp.raises(errors.Conflict)
@blp.idempotent
def resend(endpoint_id: UUID, delivery_id: UUID, once: Once) -> webhooks.DeliveryRecord:
    """Send one delivery again, with the same `webhook-id` and a new retry schedule

    At most 60 a minute per endpoint.
    """
    return webhooks.resend(auth.caller().user_id, endpoint_id, delivery_id, once=once)


@blp.get("/<uuid:endpoint_id>/replay")
@auth.needs("webhooks:manage")
@blp.arguments(ReplayQuery, location="query")
@blp.response(200, ReplayableSchema)
def replayable(query: ReplayIn, endpoint_id: UUID) -> Shown:
    """How many deliveries a replay would queue again now"""
    return {"count": webhooks.replayable(auth.caller().user_id, endpoint_id, query["since"])}


@blp.post("/<uuid:endpoint_id>/replay")
@auth.needs("webhooks:manage")
@blp.arguments(ReplayInSchema)
@blp.response(200, ReplaySchema)
@blp.raises(errors.Conflict)
@blp.idempotent
def replay(body: ReplayIn, endpoint_id: UUID, once: Once) -> webhooks.ReplayResult:
    """Send again everything that failed since a time, oldest first

    At most 10 a minute per endpoint. Tests, resends and replays together are also limited per account: to 60 a minute
    per host and 120 a minute in total.
    """
    return webhooks.replay(auth.caller().user_id, endpoint_id, body["since"], once=once)
