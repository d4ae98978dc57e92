"""Who is asking: an API key, or a session that is kept fresh."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from joyfull import models
from joyfull.context import Context
from joyfull.errors import ConfigurationError, ConnectionFailed, OutcomeUnknown, SessionEnded, Timeout
from joyfull.exchange import Operation, do, sleep
from joyfull.problems import Unauthenticated, Unavailable
from joyfull.resource import nothing, one, request_of

#: Seconds before an access token ends at which it is replaced.
EARLY = 60.0
#: Seconds between two looks at whether another thread or process has refreshed.
LOOK = 0.05
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


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of a session of `email` at `server`. `ends`: when the access token does, in seconds since 1970."""

    server: str
    email: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    ends: float

    def live(self, context: Context) -> bool:
        """Whether the access token can still be shown, there."""
        return self.server == context.server and context.today().timestamp() < self.ends - EARLY


class Store:
    """Where the tokens of a session are: in memory, where all threads see them. Refreshing takes the lock."""

    def __init__(self) -> None:
        self._kept: Tokens | None = None
        self._held = threading.Lock()

    def try_lock(self) -> bool:
        """Whether it is ours now."""
        return self._held.acquire(blocking=False)

    def unlock(self) -> None:
        """Let others."""
        self._held.release()

    def read(self) -> Tokens | None:
        """What was written last."""
        return self._kept

    def write(self, tokens: Tokens | None) -> None:
        """Keep these, or none."""
        self._kept = tokens


@dataclass
class Session(Credentials):
    """An account's e-mail address and password: logs in when it is first needed, and refreshes before it ends.

    All threads and clients that share it refresh once; with `store=SessionFile(path)`, all processes too. Without a
    password it is the session that the store has, as long as it lasts. Raises SessionEnded.
    """

    email: str = ""
    password: str | None = field(default=None, repr=False)
    store: Store = field(default_factory=Store, repr=False)
    _tokens: Tokens | None = field(default=None, init=False, repr=False)

    def fresh(self, context: Context) -> Operation[Header | None]:
        """Logs in or refreshes where that is due. Raises ConnectionFailed where the platform cannot do that now."""
        tokens = self._tokens
        if tokens is None or not tokens.live(context):
            yield from self._lock(context)
            try:
                tokens = self._tokens = yield from self._renewed(context)
            except (ConnectionFailed, OutcomeUnknown, Unavailable) as error:
                raise ConnectionFailed(f"the session cannot be refreshed: {error}", sent=False) from error
            finally:
                self.store.unlock()
        return bearer(tokens.access_token)

    def _lock(self, context: Context) -> Operation[None]:
        """Not by blocking: a thread that is interrupted while it waits leaves nothing locked."""
        until = context.now() + context.timeout * (context.retries + 1)
        while not self.store.try_lock():
            if context.now() >= until:
                raise Timeout("another thread or process has been refreshing the session for too long", sent=False)
            yield from sleep(LOOK)

    def _renewed(self, context: Context) -> Operation[Tokens]:
        """What another has refreshed meanwhile, or what is refreshed now. A spent token must not be shown again."""
        kept = self._kept(context)
        if kept is not None and kept.live(context):
            return kept
        tokens = yield from self._next(context, kept)
        yield from do(lambda: self.store.write(tokens))
        return tokens

    def _kept(self, context: Context) -> Tokens | None:
        """What the store has, if it is of this account and this server: it is shown to no other."""
        kept = self.store.read()
        if kept is None or (kept.server == context.server and self.email in {kept.email, ""}):
            return kept
        if self.password is None:
            raise ConfigurationError(f"the session is of {kept.email} at {kept.server}, not at {context.server}")
        return None

    def _next(self, context: Context, kept: Tokens | None) -> Operation[Tokens]:
        if kept is not None:
            request = request_of(context, "auth_refresh", body={"refresh_token": kept.refresh_token})
            try:
                pair = yield from one(context, models.TokenPair.of, request)
                return self._tokens_of(context, kept.email, pair)
            except Unauthenticated as error:  # revoked, or too old: log in again
                if self.password is None:
                    raise SessionEnded(f"the session of {kept.email} has ended: log in again") from error
        if self.password is None:
            raise SessionEnded("there is no session: log in")
        body = {"email": self.email, "password": self.password}
        pair = yield from one(context, models.TokenPair.of, request_of(context, "auth_login", body=body))
        return self._tokens_of(context, self.email, pair)

    def _tokens_of(self, context: Context, email: str, pair: models.TokenPair) -> Tokens:
        ends = context.today().timestamp() + pair.expires_in
        return Tokens(context.server, email, pair.access_token, pair.refresh_token, ends)

    def forget(self, context: Context) -> Operation[None]:
        """Log out, if logged in."""
        yield from self._lock(context)
        try:
            kept, self._tokens = self._kept(context), None
            yield from do(lambda: self.store.write(None))
        finally:
            self.store.unlock()
        if kept is not None:
            request = request_of(context, "auth_logout", body={"refresh_token": kept.refresh_token})
            yield from nothing(context, request)
