"""Standard Webhooks 1.0.0 (standardwebhooks.com): secrets and the three signature headers.

The signature covers `{id}.{timestamp}.{body}` over the exact bytes that are sent, so the body is serialised once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from uuid import UUID

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A new secret: `whsec_` and 32 random bytes in base64 (the specification asks for 24 to 64)."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 HMAC-SHA256, keyed with the decoded secret."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    mac = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(mac).decode()}"


def sign(keys: Sequence[str], event_id: UUID, timestamp: int, body: bytes) -> dict[str, str]:
    """The signature headers of one attempt. `keys`: all valid secrets, newest first; each of them signs.

    `webhook-id` is the event's id, the same on every attempt; `timestamp` (Unix seconds) is that of the attempt.
    """
    message_id = str(event_id)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(key, message_id, timestamp, body) for key in keys),
    }
