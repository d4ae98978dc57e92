"""The account itself: profile, sessions, mailed links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from joyfull import models
from joyfull.exchange import Operation
from joyfull.paging import Page
from joyfull.resource import body_of, many, nothing, one, request_of
from joyfull.surface import Asynchronous, Surface, Synchronous, listing, operation

if TYPE_CHECKING:
    from joyfull.models.bodies import (
        Deletion,
        EmailAddress,
        NewPassword,
        ProfileChanges,
        Registration,
        SessionsIndexQuery,
    )


class AccountSurface(Surface):
    """The account itself."""

    @operation
    def me(self) -> Operation[models.Profile]:
        """The account, and what the credential of this client may."""
        request = request_of(self._context, "users_show")
        return one(self._context, models.Profile.of, request)

    @operation
    def attention(self) -> Operation[models.Attention]:
        """What needs looking after: endpoints that fail, keys that expire soon."""
        request = request_of(self._context, "attention_attention")
        return one(self._context, models.Attention.of, request)

    @operation
    def update(self, **fields: Unpack[ProfileChanges]) -> Operation[models.User]:
        """Change the name; or the password, with `current_password`."""
        request = request_of(self._context, "users_edit", body=body_of(fields))
        return one(self._context, models.User.of, request)

    @operation
    def delete(self, **fields: Unpack[Deletion]) -> Operation[None]:
        """Delete the account, for good: keys, webhooks and sessions end at once."""
        request = request_of(self._context, "users_delete", body=body_of(fields))
        return nothing(self._context, request)

    @operation
    def register(self, **fields: Unpack[Registration]) -> Operation[models.User]:
        """Make an account."""
        request = request_of(self._context, "auth_register", body=body_of(fields))
        return one(self._context, models.User.of, request)

    @operation
    def request_password_reset(self, **fields: Unpack[EmailAddress]) -> Operation[None]:
        """Have a link for a new password mailed."""
        request = request_of(self._context, "auth_request_reset", body=body_of(fields))
        return nothing(self._context, request)

    @operation
    def reset_password(self, token: str, **fields: Unpack[NewPassword]) -> Operation[None]:
        """Set the password with a mailed token; every session ends."""
        request = request_of(self._context, "auth_reset_password", {"token": token}, body=body_of(fields))
        return nothing(self._context, request)

    @operation
    def request_verification(self, **fields: Unpack[EmailAddress]) -> Operation[None]:
        """Have the link that verifies the address mailed again."""
        request = request_of(self._context, "auth_request_verification", body=body_of(fields))
        return nothing(self._context, request)

    @operation
    def verify_email(self, token: str) -> Operation[None]:
        """Verify the address with a mailed token."""
        request = request_of(self._context, "auth_verify_email", {"token": token})
        return nothing(self._context, request)


class Account(AccountSurface, Synchronous):
    """The account itself, of a `Client`."""


class AsyncAccount(AccountSurface, Asynchronous):
    """The account itself, of an `AsyncClient`."""


class SessionsSurface(Surface):
    """Where the account is logged in."""

    @listing
    def list(self, **filters: Unpack[SessionsIndexQuery]) -> Operation[Page[models.Session]]:
        """The sessions that are alive."""
        request = request_of(self._context, "sessions_index", query=filters)
        return many(self._context, models.Session.of, request)

    @operation
    def revoke(self, session_id: str) -> Operation[None]:
        """End one."""
        request = request_of(self._context, "sessions_revoke", {"session_id": session_id})
        return nothing(self._context, request)

    @operation
    def revoke_others(self) -> Operation[models.RevokedSessions]:
        """End all but this one."""
        request = request_of(self._context, "sessions_revoke_others")
        return one(self._context, models.RevokedSessions.of, request)


class Sessions(SessionsSurface, Synchronous):
    """Where the account is logged in, of a `Client`."""


class AsyncSessions(SessionsSurface, Asynchronous):
    """Where the account is logged in, of an `AsyncClient`."""
