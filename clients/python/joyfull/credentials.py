"""Who is asking: an API key, or a session that is kept fresh."""

from __future__ import annotations

from dataclasses import dataclass, field

from joyfull import models
from joyfull.context import Context
from joyfull.exchange import Operation
from joyfull.problems import Unauthenticated
from joyfull.resource import nothing, one, request_of

#: Seconds before an access token ends at which it is replaced.
EARLY = 60.0
Header = tuple[str, str]


def bearer(token: str) -> Header:
    """As HTTP has it."""
    return "Authorization", f"Bearer {token}"


class Credentials:
    """No credentials: for what is public."""

    #: The header, where it never changes.
    fixed: Header | None = None

    def fresh(self, context: Context) -> Operation[Header | None]:  # noqa: ARG002 - for the others
        """The header for a request that is about to be sent."""
        yield from ()
        return self.fixed


@dataclass
class ApiKey(Credentials):
    """An API key, or an access token."""

    key: str = field(repr=False)

    def __post_init__(self) -> None:
        self.fixed = bearer(self.key)


@dataclass
class Session(Credentials):
    """An account's e-mail address and password: logs in when it is first needed, and refreshes before it ends."""

    email: str
    password: str = field(repr=False)
    _pair: models.TokenPair | None = field(default=None, repr=False)
    _ends: float = field(default=0.0, repr=False)

    def fresh(self, context: Context) -> Operation[Header | None]:
        """Logs in or refreshes where that is due. The driver lets one caller at a time in here."""
        if self._pair is None or context.now() >= self._ends - EARLY:
            self._pair = yield from self._next(context)
            self._ends = context.now() + self._pair.expires_in
        return bearer(self._pair.access_token)

    def _next(self, context: Context) -> Operation[models.TokenPair]:
        if self._pair is not None:
            body = {"refresh_token": self._pair.refresh_token}
            try:
                return (yield from one(context, models.TokenPair.of, request_of(context, "auth_refresh", body=body)))
            except Unauthenticated:
                pass  # revoked, or too old: log in again
        body = {"email": self.email, "password": self.password}
        return (yield from one(context, models.TokenPair.of, request_of(context, "auth_login", body=body)))

    def forget(self, context: Context) -> Operation[None]:
        """Log out, if logged in."""
        pair, self._pair = self._pair, None
        if pair is not None:
            request = request_of(context, "auth_logout", body={"refresh_token": pair.refresh_token})
            yield from nothing(context, request)
