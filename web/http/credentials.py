"""How a credential is read, one function for each way; a face names its own (`web/http/faces.py`).

Each returns a function that looks up the caller, which is called again when a request lasts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from flask import request

from common.errors import InvalidHeader, PlatformError, Unauthenticated
from common.identity import keys, sessions
from common.identity.authorization import Caller
from web.http import access_tokens

#: In the environment of a request: why its credential was refused when it was looked up before (`web/api/lean.py`).
REFUSAL: Final = "joyfull.refusal"


def bearer_or_api_key() -> Callable[[], Caller]:
    """An access token or an API key in `Authorization`, or an API key in `X-API-Key`; nowhere else, and not both."""
    if isinstance(refusal := request.environ.get(REFUSAL), PlatformError):
        raise refusal
    return of_headers(request.headers.get("Authorization"), request.headers.get("X-API-Key"))


def of_headers(authorization: str | None, api_key: str | None) -> Callable[[], Caller]:
    """As `bearer_or_api_key`, from the values of the two headers. Raises `Unauthenticated`, `InvalidHeader`."""
    return _read(authorization, api_key, keys.authenticate, sessions.authenticate)


def remembered(authorization: str | None, api_key: str | None) -> Caller | None:
    """The caller as this process remembers them, to be confirmed with a hold; None: it does not.

    Raises what looking them up does.
    """
    return _read(authorization, api_key, keys.remembered, sessions.remembered)()


Found = TypeVar("Found")


def _read(
    authorization: str | None,
    api_key: str | None,
    by_key: Callable[[str], Found],
    by_session: Callable[[UUID, UUID], Found],
) -> Callable[[], Found]:
    if authorization is not None and api_key is not None:
        raise InvalidHeader("Send either Authorization or X-API-Key, not both.")
    if api_key is not None:
        return partial(by_key, api_key)
    scheme, _, credential = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not credential:
        raise Unauthenticated
    if credential.startswith(keys.PREFIX):
        return partial(by_key, credential)
    return partial(by_session, *access_tokens.verify(credential))


def none() -> Callable[[], Caller]:
    """For faces whose views are all public."""
    raise Unauthenticated
