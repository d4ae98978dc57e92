"""Receiving webhooks: Standard Webhooks 1.0.0 (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from joyfull import models, wire
from joyfull.errors import SignatureError

TOLERANCE = 300.0
_PREFIX = "whsec_"


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX))
    except (binascii.Error, ValueError) as error:
        raise SignatureError("not a signing secret: it must be whsec_ followed by base64") from error


def _signature(key: bytes, identifier: str, timestamp: str, body: bytes) -> bytes:
    signed = b".".join((identifier.encode(), timestamp.encode(), body))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())


def sign(body: bytes | str, secret: str, *, id: str, timestamp: datetime | None = None) -> dict[str, str]:
    """The three headers of a webhook, for tests of receivers."""
    seconds = str(int(timestamp.timestamp() if timestamp else time.time()))
    signature = _signature(_key(secret), id, seconds, body.encode() if isinstance(body, str) else body)
    return {"webhook-id": id, "webhook-timestamp": seconds, "webhook-signature": f"v1,{signature.decode()}"}


def verify(
    body: bytes | str, headers: Mapping[str, str], secret: str | Sequence[str], *, tolerance: float = TOLERANCE
) -> None:
    """Raises SignatureError unless one of the secrets signed this body, at most `tolerance` seconds ago (or ahead)."""
    given = {name.lower(): value for name, value in headers.items()}
    try:
        identifier, timestamp = given["webhook-id"], given["webhook-timestamp"]
        signatures = given["webhook-signature"].split(" ")
    except KeyError as error:
        raise SignatureError(f"the header {error} is missing") from error
    _check_time(timestamp, tolerance)
    data = body.encode() if isinstance(body, str) else body
    sent = [each.removeprefix("v1,").encode() for each in signatures if each.startswith("v1,")]
    secrets = [secret] if isinstance(secret, str) else secret
    expected = [_signature(_key(each), identifier, timestamp, data) for each in secrets]
    fitting = [hmac.compare_digest(one, other) for one in sent for other in expected]  # all, whatever fits first
    if True not in fitting:
        raise SignatureError("no signature matches: wrong secret, or the body was changed in transit")


def _check_time(timestamp: str, tolerance: float) -> None:
    if not (timestamp.isascii() and timestamp.isdigit()):
        raise SignatureError("webhook-timestamp is not a number of seconds")
    age = time.time() - float(timestamp)
    if not math.isfinite(age) or abs(age) > tolerance:
        raise SignatureError(
            f"signed {abs(age):.0f} s {'ago' if age > 0 else 'ahead'}, outside the tolerance of {tolerance:g} s"
        )


def unwrap(
    body: bytes | str, headers: Mapping[str, str], secret: str | Sequence[str], *, tolerance: float = TOLERANCE
) -> models.Event:
    """The event of a webhook whose signature was verified. Raises SignatureError."""
    verify(body, headers, secret, tolerance=tolerance)
    given = {name.lower(): value for name, value in headers.items()}
    found = wire.decode(body.encode() if isinstance(body, str) else body)
    return models.event_of({"id": given["webhook-id"], **found})
