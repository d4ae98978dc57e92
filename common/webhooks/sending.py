"""One signed POST to one receiver through the outbound client, and its result. Does not use the database."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from common.kit import clock, crypto, jsonb, tracing
from common.kit.http_headers import retry_after
from common.kit.outbound import Answer, OutboundClient, OutboundError
from common.webhooks import signing
from common.webhooks.model import BUSY, AttemptResult, Encrypted, OutboxEvent

#: Seconds for the whole exchange.
TIMEOUT = 15.0
MAX_ANSWER = 64 * 1024
EXCERPT_BYTES = 2048
#: A larger body is sent truncated: many receivers refuse it, and each retry would send it again.
MAX_BODY = 256_000

#: The fields of an invocation in a truncated body.
TRUNCATED_FIELDS = ("id", "status", "links")

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def body(event: OutboxEvent, data: Mapping[str, object]) -> bytes:
    """The body to sign and send: `{"type", "timestamp", "data"}`, serialised once.

    An invocation above `MAX_BODY` is reduced to id, status and links, and marked `truncated`.
    """
    message = {"type": event.type, "timestamp": clock.rfc3339(event.created_at), "data": data}
    whole = jsonb.encoded(message)
    if len(whole) <= MAX_BODY or "links" not in data:
        return whole
    return jsonb.encoded({**message, "data": {name: data[name] for name in TRUNCATED_FIELDS}, "truncated": True})


def send(
    outbound: OutboundClient, url: str, keys: Sequence[Encrypted], event: OutboxEvent, data: Mapping[str, object]
) -> AttemptResult:
    """POST the event to `url`. Failures of the receiver, or of decrypting a key, are returned, not raised."""
    began, started = clock.now(), clock.monotonic()
    try:
        headers, payload = _request(keys, event, data, began)
        answer = outbound.request(
            "POST",
            url,
            headers=headers,
            body=payload,
            timeout=TIMEOUT,
            max_bytes=MAX_ANSWER,
            truncate=True,
            account=str(event.user_id),
        )
    except OutboundError as error:
        return AttemptResult(began, _since(started), error.status, error.message)
    except crypto.Undecryptable:
        return AttemptResult(began, _since(started), error="The signing secret could not be decrypted; rotate it.")
    return _result(began, answer)


def _request(
    keys: Sequence[Encrypted], event: OutboxEvent, data: Mapping[str, object], at: datetime
) -> tuple[dict[str, str], bytes]:
    payload = body(event, data)
    headers = {"Content-Type": "application/json", **tracing.headers()}
    headers |= signing.sign([key.open() for key in keys], event.id, int(at.timestamp()), payload)
    request_id = data.get("request_id")
    if isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id):
        headers["X-Request-ID"] = request_id
    return headers, payload


def _since(started: float) -> int:
    return int((clock.monotonic() - started) * 1000)


def _result(at: datetime, answer: Answer) -> AttemptResult:
    wait = answer.headers.get("retry-after") if answer.status in BUSY else None
    return AttemptResult(
        at,
        answer.duration_ms,
        answer.status,
        _error(answer.status),
        excerpt(answer.body),
        retry_after(wait, at),
    )


def _error(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"The receiver answered {status}; redirects are not followed."
    return f"The receiver answered {status}."


def excerpt(answer: bytes) -> str:
    """The first 2 kB as printable text; control characters and invalid UTF-8 are replaced."""
    text = _UNPRINTABLE.sub("\ufffd", answer[:EXCERPT_BYTES].decode(errors="replace"))
    return text.encode()[:EXCERPT_BYTES].decode(errors="ignore")
