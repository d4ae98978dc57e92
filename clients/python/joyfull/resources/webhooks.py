"""Webhook endpoints and their deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from joyfull import models
from joyfull.exchange import Operation
from joyfull.paging import Page
from joyfull.resource import body_of, many, nothing, one, request_of
from joyfull.surface import Asynchronous, Surface, Synchronous, listing, operation

if TYPE_CHECKING:
    from joyfull.models.bodies import (
        ReplayIn,
        WebhookEndpointChanges,
        WebhookEndpointIn,
        WebhooksDeliveriesQuery,
        WebhooksIndexQuery,
        WebhooksReplayableQuery,
    )


class WebhooksSurface(Surface):
    """Webhook endpoints and their deliveries."""

    @listing
    def list(self, **filters: Unpack[WebhooksIndexQuery]) -> Operation[Page[models.WebhookEndpoint]]:
        """The endpoints of the account."""
        request = request_of(self._context, "webhooks_index", query=filters)
        return many(self._context, models.WebhookEndpoint.of, request)

    @operation
    def create(self, **fields: Unpack[WebhookEndpointIn]) -> Operation[models.WebhookEndpointWithSecret]:
        """Add one: its `secret` is shown only once."""
        request = request_of(self._context, "webhooks_create", body=body_of(fields))
        return one(self._context, models.WebhookEndpointWithSecret.of, request)

    @operation
    def get(self, endpoint_id: str) -> Operation[models.WebhookEndpoint]:
        """One endpoint."""
        request = request_of(self._context, "webhooks_show", {"endpoint_id": endpoint_id})
        return one(self._context, models.WebhookEndpoint.of, request)

    @operation
    def update(self, endpoint_id: str, **fields: Unpack[WebhookEndpointChanges]) -> Operation[models.WebhookEndpoint]:
        """Change it; `status="enabled"` enables it again."""
        request = request_of(self._context, "webhooks_edit", {"endpoint_id": endpoint_id}, body=body_of(fields))
        return one(self._context, models.WebhookEndpoint.of, request)

    @operation
    def delete(self, endpoint_id: str) -> Operation[None]:
        """Remove it."""
        request = request_of(self._context, "webhooks_remove", {"endpoint_id": endpoint_id})
        return nothing(self._context, request)

    @operation
    def rotate_secret(self, endpoint_id: str) -> Operation[models.WebhookEndpointWithSecret]:
        """A new secret; both sign for 24 hours."""
        request = request_of(self._context, "webhooks_rotate_secret", {"endpoint_id": endpoint_id})
        return one(self._context, models.WebhookEndpointWithSecret.of, request)

    @operation
    def test(self, endpoint_id: str) -> Operation[models.DeliveryAttempt]:
        """Send `webhook.test` now; what came of it."""
        request = request_of(self._context, "webhooks_test", {"endpoint_id": endpoint_id})
        return one(self._context, models.DeliveryAttempt.of, request)

    @listing
    def deliveries(
        self, endpoint_id: str, **filters: Unpack[WebhooksDeliveriesQuery]
    ) -> Operation[Page[models.Delivery]]:
        """What was sent to it, with every attempt."""
        request = request_of(self._context, "webhooks_deliveries", {"endpoint_id": endpoint_id}, query=filters)
        return many(self._context, models.Delivery.of, request)

    @operation
    def delivery(self, endpoint_id: str, delivery_id: str) -> Operation[models.Delivery]:
        """One delivery, with every attempt."""
        values = {"endpoint_id": endpoint_id, "delivery_id": delivery_id}
        return one(self._context, models.Delivery.of, request_of(self._context, "webhooks_delivery", values))

    @operation
    def health(self, endpoint_id: str) -> Operation[models.EndpointHealth]:
        """How its last deliveries ended, and what it answered last."""
        request = request_of(self._context, "webhooks_health", {"endpoint_id": endpoint_id})
        return one(self._context, models.EndpointHealth.of, request)

    @operation
    def resend(self, endpoint_id: str, delivery_id: str) -> Operation[models.Delivery]:
        """Send one delivery again."""
        request = request_of(self._context, "webhooks_resend", {"endpoint_id": endpoint_id, "delivery_id": delivery_id})
        return one(self._context, models.Delivery.of, request)

    @operation
    def replayable(self, endpoint_id: str, **since: Unpack[WebhooksReplayableQuery]) -> Operation[models.Replayable]:
        """How many a replay `since` that time would send again."""
        request = request_of(self._context, "webhooks_replayable", {"endpoint_id": endpoint_id}, query=since)
        return one(self._context, models.Replayable.of, request)

    @operation
    def replay(self, endpoint_id: str, **fields: Unpack[ReplayIn]) -> Operation[models.Replay]:
        """Send all that failed `since` a time again."""
        request = request_of(self._context, "webhooks_replay", {"endpoint_id": endpoint_id}, body=body_of(fields))
        return one(self._context, models.Replay.of, request)

    @operation
    def default_secret(self) -> Operation[models.WebhookSecret]:
        """What signs calls with a `webhook_url` of their own."""
        request = request_of(self._context, "webhooks_default_secret")
        return one(self._context, models.WebhookSecret.of, request)

    @operation
    def rotate_default_secret(self) -> Operation[models.WebhookSecret]:
        """A new default secret; both sign for 24 hours."""
        request = request_of(self._context, "webhooks_rotate_default_secret")
        return one(self._context, models.WebhookSecret.of, request)


class Webhooks(WebhooksSurface, Synchronous):
    """Endpoints that are told of events, of a `Client`."""


class AsyncWebhooks(WebhooksSurface, Asynchronous):
    """Endpoints that are told of events, of an `AsyncClient`."""
