"""`Idempotency-Key`: one request made twice is made once."""

from __future__ import annotations

import re
from typing import Any

from flask import request

from common import errors
from common.idempotency import Request
from web.http import auth

_KEY = re.compile(r"[\x20-\x7e]{1,255}")
#: What an answer to a repeat carries beside its own headers.
REPLAYED = {"Idempotent-Replayed": "true"}


def key() -> str | None:
    """RFC 8941 string or bare, the same either way; 1–255 printable ASCII. Raises `InvalidHeader`."""
    values = request.headers.getlist("Idempotency-Key")
    if not values:
        return None
    given = values[0].strip()
    if len(given) > 1 and given[0] == given[-1] == '"':
        given = given[1:-1]
    if len(values) > 1 or not given.strip() or not _KEY.fullmatch(given):
        raise errors.InvalidHeader("Idempotency-Key must be 1 to 255 printable ASCII characters, given once.")
    return given


def this(body: Any) -> Request | None:
    """This request by its key, for a function of `common` that makes something once; None without a key."""
    given = key()
    if given is None:
        return None
    return Request.of(auth.caller().user_id, given, request.method, request.path, body)
