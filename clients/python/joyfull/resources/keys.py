"""API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from joyfull import models
from joyfull.exchange import Operation
from joyfull.paging import Page
from joyfull.resource import body_of, many, nothing, one, request_of
from joyfull.surface import Asynchronous, Surface, Synchronous, listing, operation

if TYPE_CHECKING:
    from joyfull.models.bodies import ApiKeyIn, ApiKeyRotation, DelegationIn, UsersListKeysQuery


class KeysSurface(Surface):
    """API keys."""

    @listing
    def list(self, **filters: Unpack[UsersListKeysQuery]) -> Operation[Page[models.ApiKey]]:
        """The keys of the account; takes a session."""
        request = request_of(self._context, "users_list_keys", query=filters)
        return many(self._context, models.ApiKey.of, request)

    @operation
    def create(self, **fields: Unpack[ApiKeyIn]) -> Operation[models.ApiKeyWithText]:
        """Make one: its `key` is shown only once."""
        request = request_of(self._context, "users_create_key", body=body_of(fields))
        return one(self._context, models.ApiKeyWithText.of, request)

    @operation
    def rotate(self, key_id: str, **fields: Unpack[ApiKeyRotation]) -> Operation[models.ApiKeyWithText]:
        """A new `key` under the same id; the old one works for another `overlap_seconds`."""
        request = request_of(self._context, "users_rotate_key", {"key_id": key_id}, body=body_of(fields))
        return one(self._context, models.ApiKeyWithText.of, request)

    @operation
    def revoke(self, key_id: str) -> Operation[None]:
        """Refuse a key from now on, and those that it delegated."""
        request = request_of(self._context, "users_revoke_key", {"key_id": key_id})
        return nothing(self._context, request)

    @operation
    def delegate(self, **fields: Unpack[DelegationIn]) -> Operation[models.DelegatedKey]:
        """Make a short-lived key with an allowance of its own, within this client's."""
        request = request_of(self._context, "keys_delegate", body=body_of(fields))
        return one(self._context, models.DelegatedKey.of, request)


class Keys(KeysSurface, Synchronous):
    """API keys, of a `Client`."""


class AsyncKeys(KeysSurface, Asynchronous):
    """API keys, of an `AsyncClient`."""
