"""The `Idempotency-Key` request header."""

from __future__ import annotations

import re

from flask import request

from common import errors
from common.idempotency import Request
from web.http import auth

_KEY = re.compile(r"[\x20-\x7e]{1,255}")
#: Header of the response to a repeated request.
REPLAYED = {"Idempotent-Replayed": "true"}


def key() -> str | None:
    """The key, 1–255 printable ASCII characters; an RFC 8941 string or bare. None without. Raises `InvalidHeader`."""
    values = request.headers.getlist("Idempotency-Key")
    if not values:
        return None
    given = values[0].strip()
    if len(given) > 1 and given[0] == given[-1] == '"':
        given = given[1:-1]
    if len(values) > 1 or not given.strip() or not _KEY.fullmatch(given):
        raise errors.InvalidHeader("Idempotency-Key must be given once and have 1 to 255 printable ASCII characters.")
    return given


def current_request(body: object) -> Request | None:
    """The current request and its key, for `common.idempotency.claim`; None without a key."""
    given = key()
    if given is None:
        return None
    return Request.of(auth.caller().user_id, given, request.method, request.path, body)
