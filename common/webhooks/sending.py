"""One POST to one receiver: sign, send through the outbound client, say what came of it. No database here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from common.kit import clock, crypto, tracing
from common.kit.outbound import Answer, OutboundClient, OutboundError
from common.webhooks import schedule, signing
from common.webhooks.model import BUSY, Attempt, Encrypted, Event

#: Seconds for the whole exchange, slow answers included.
TIMEOUT = 15.0
MAX_ANSWER = 64 * 1024
EXCERPT_BYTES = 2048
#: A larger body is sent without what makes it so large: many receivers refuse it, and each retry would send it again.
MAX_BODY = 256_000

#: What is said of an invocation all the same.
THIN = ("id", "status", "links")

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def body(event: Event, data: Mapping[str, Any]) -> bytes:
    """What is sent and signed: `{"type", "timestamp", "data"}`, serialised once.

    A large invocation is only named, with `truncated`: its links lead to the rest.
    """
    message = {"type": event.type, "timestamp": clock.rfc3339(event.created_at), "data": data}
    whole = _serialised(message)
    if len(whole) <= MAX_BODY or "links" not in data:
        return whole
    return _serialised({**message, "data": {name: data[name] for name in THIN}, "truncated": True})


def _serialised(message: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(message)
    except orjson.JSONEncodeError:  # a tool may answer with integers that do not fit 64 bits
        return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def send(
    outbound: OutboundClient, url: str, keys: Sequence[Encrypted], event: Event, data: Mapping[str, Any]
) -> Attempt:
    """POST the event to `url`. Never raises for what a receiver, or a lost key, can do."""
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
        return Attempt(began, _since(started), error.status, error.message)
    except crypto.Undecryptable:
        return Attempt(began, _since(started), error="The signing secret could not be read; rotate it.")
    return _judged(began, answer)


def _request(
    keys: Sequence[Encrypted], event: Event, data: Mapping[str, Any], at: datetime
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


def _judged(at: datetime, answer: Answer) -> Attempt:
    wait = answer.headers.get("retry-after") if answer.status in BUSY else None
    return Attempt(
        at,
        answer.duration_ms,
        answer.status,
        _complaint(answer.status),
        excerpt(answer.body),
        schedule.retry_after(wait, at),
    )


def _complaint(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"The receiver answered {status}; redirects are not followed."
    return f"The receiver answered {status}."


def excerpt(answer: bytes) -> str:
    """The first 2 kB as text that is safe to store and show: control characters and broken UTF-8 are replaced."""
    text = _UNPRINTABLE.sub("\ufffd", answer[:EXCERPT_BYTES].decode(errors="replace"))
    return text.encode()[:EXCERPT_BYTES].decode(errors="ignore")
