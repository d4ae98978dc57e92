"""Whether the platform is up."""

from __future__ import annotations

from joyfull import models
from joyfull.exchange import Operation
from joyfull.paging import document
from joyfull.resource import one, raw, request_of
from joyfull.surface import Asynchronous, Surface, Synchronous, operation
from joyfull.wire import Json


class PlatformSurface(Surface):
    """Whether the platform is up; takes no credentials."""

    @operation
    def health(self) -> Operation[models.Health]:
        """The web process answers; its version."""
        return one(self._context, models.Health.of, request_of(self._context, "operations_health"))

    @operation
    def ready(self) -> Operation[models.Readiness]:
        """Everything is there that serving needs. Raises DependencyUnavailable."""
        return one(self._context, models.Readiness.of, request_of(self._context, "operations_ready"))

    @operation
    def signing_keys(self) -> Operation[Json]:
        """The keys that receipts are signed with, as a JWK set (RFC 7517)."""
        headers = {"Accept": "application/jwk-set+json"}
        return document(
            (yield from raw(self._context, request_of(self._context, "signing_keys_jwks", headers=headers)))
        )

    @operation
    def metrics(self) -> Operation[str]:
        """In the text format of Prometheus, where the operator shows them."""
        response = yield from raw(
            self._context, request_of(self._context, "operations_exposed", headers={"Accept": "*/*"})
        )
        return response.body.decode()


class Platform(PlatformSurface, Synchronous):
    """Whether the platform is up, of a `Client`."""


class AsyncPlatform(PlatformSurface, Asynchronous):
    """Whether the platform is up, of an `AsyncClient`."""
