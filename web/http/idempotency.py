"""The `Idempotency-Key` request header: read, and for the verb that a view calls."""

from __future__ import annotations

import re
from collections.abc import Callable

from flask import Response, after_this_request, request

from common import errors
from common.identity.idempotency import Once, Request
from common.kit import failpoints
from web.http import auth

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


def key() -> str | None:
    """The key, 1–255 printable ASCII characters; an RFC 8941 string or bare. None without. Raises `InvalidHeader`."""
    values = request.headers.getlist("Idempotency-Key")
    if not values:
        return None
    return read(*values)


def read(value: str, *more: str) -> str:
    """The key in the values of the header. Raises `InvalidHeader`."""
    given = value.strip()
    if len(given) > 1 and given[0] == given[-1] == '"':
        given = given[1:-1]
    if more or not given.strip() or not _KEY.fullmatch(given):
        raise errors.InvalidHeader("Idempotency-Key must be given once and have 1 to 255 printable ASCII characters.")
    return given


def answered_once(body: object, answer: Callable[[Once], object]) -> object:
    """What `answer` returns for this request; it hands on the request and its key to the verb that claims the key.

    The response to a repeat has `Idempotent-Replayed`. Raises `Conflict` for a repeat if what was made is gone.
    """
    once = _current(body)
    try:
        answered = answer(once)
    except errors.NotFound:
        if once is None or not once.replayed:
            raise
        raise errors.Conflict(
            "This request was already carried out, and what it created has been deleted since. Nothing was changed."
        ) from None
    failpoints.at("web.after_commit")
    if once is not None and not once.claimed:
        raise RuntimeError(f"{request.endpoint} takes Idempotency-Key, but its verb did not claim it")
    if once is not None and once.replayed:
        after_this_request(_replayed)
    return answered


def _current(body: object) -> Once:
    given = key()
    return None if given is None else Request.of(auth.caller().user_id, given, request.method, request.path, body)


def _replayed(response: Response) -> Response:
    response.headers["Idempotent-Replayed"] = "true"
    return response
