"""How a credential is read, one function for each way; a face names its own (`web/http/faces.py`).

Each returns a function that looks up the caller, which is called again when a request lasts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flask import request

from common.errors import InvalidHeader, Unauthenticated
from common.identity import keys, sessions
from common.identity.authorization import Caller
from web.http import access_tokens


def bearer_or_api_key() -> Callable[[], Caller]:
    """An access token or an API key in `Authorization`, or an API key in `X-API-Key`; nowhere else, and not both."""
    authorization, api_key = request.headers.get("Authorization"), request.headers.get("X-API-Key")
    if authorization is not None and api_key is not None:
        raise InvalidHeader("Send either Authorization or X-API-Key, not both.")
    if api_key is not None:
        return partial(keys.authenticate, api_key)
    scheme, _, credential = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not credential:
        raise Unauthenticated
    if credential.startswith(keys.PREFIX):
        return partial(keys.authenticate, credential)
    return partial(sessions.authenticate, *access_tokens.verify(credential))


def none() -> Callable[[], Caller]:
    """For faces whose views are all public."""
    raise Unauthenticated
