"""One signed POST to one receiver through the outbound client, and its result. Does not use the database."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import orjson

from common.kit import clock, crypto, jsonb, redaction, tracing
from common.kit.http_headers import retry_after
from common.kit.outbound import Answer, OutboundClient, OutboundError
from common.webhooks import signing
from common.webhooks.model import BUSY, AttemptResult, Claim, Encrypted, OutboxEvent

#: Seconds for the whole exchange.
TIMEOUT = 15.0
MAX_ANSWER = 64 * 1024
EXCERPT_BYTES = 2048
#: A larger body is sent truncated: many receivers refuse it, and each retry would send it again.
MAX_BODY = 256_000
#: Larger payloads are not read for it: PostgreSQL's text has at most a blank for each character more than what is sent.
MAX_READ = 2 * MAX_BODY

#: The fields of an invocation in a truncated body.
TRUNCATED_FIELDS = ("id", "status", "links")

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def body(event: OutboxEvent, data: Mapping[str, object], *, thin: bool = False) -> bytes:
    """The body to sign and send: `{"type", "timestamp", "data"}`, serialised once.

    An invocation is reduced to id, status and links if the endpoint wants it `thin`; above `MAX_BODY` it is too, and
    marked `truncated`. (If it comes without its input, that was too large to be read.)
    """
    message = {"type": event.type, "timestamp": clock.rfc3339(event.created_at), "data": data}
    if "links" not in data:
        return jsonb.encoded(message)
    reference = {name: data.get(name) for name in TRUNCATED_FIELDS}
    if thin:
        return jsonb.encoded({**message, "data": reference})
    if "input" in data and len(whole := jsonb.encoded(message)) <= MAX_BODY:
        return whole
    return jsonb.encoded({**message, "data": reference, "truncated": True})


def send(
    outbound: OutboundClient, claim: Claim, data: Mapping[str, object], keys: Sequence[Encrypted] = ()
) -> AttemptResult:
    """POST the event to the claim's URL. Failures of the receiver, or of decrypting, are returned, not raised.

    `keys` sign in place of the claim's, which has none for a URL that came with the call.
    """
    began, started = clock.now(), clock.monotonic()
    event, url, own = claim.event, claim.url or "", {}
    try:
        own = _own_headers(claim)
        headers, payload = _request(keys or claim.secrets, claim, data, began)
        headers = {**own, **headers}
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
        what = "The signing secret could not be decrypted; rotate it."
        if claim.headers is not None and not own:
            what = "The headers could not be decrypted; set them again."
        return AttemptResult(began, _since(started), error=what)
    return _result(began, answer, own.values())


def _own_headers(claim: Claim) -> dict[str, str]:
    found: dict[str, str] = orjson.loads(claim.headers.open()) if claim.headers is not None else {}
    return found


def _request(
    keys: Sequence[Encrypted], claim: Claim, data: Mapping[str, object], at: datetime
) -> tuple[dict[str, str], bytes]:
    event, payload = claim.event, body(claim.event, data, thin=claim.thin)
    headers = {"Content-Type": "application/json", **tracing.headers()}
    headers |= signing.sign([key.open() for key in keys], event.id, int(at.timestamp()), payload)
    request_id = data.get("request_id")
    if isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id):
        headers["X-Request-ID"] = request_id
    return headers, payload


def _since(started: float) -> int:
    return int((clock.monotonic() - started) * 1000)


def _result(at: datetime, answer: Answer, secrets: Collection[str]) -> AttemptResult:
    wait = answer.headers.get("retry-after") if answer.status in BUSY else None
    return AttemptResult(
        at,
        answer.duration_ms,
        answer.status,
        _error(answer.status),
        excerpt(answer.body, secrets),
        retry_after(wait, at),
    )


def _error(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"The receiver answered {status}; redirects are not followed."
    return f"The receiver answered {status}."


def excerpt(answer: bytes, secrets: Collection[str] = ()) -> str:
    """The first 2 kB as printable text; control characters and invalid UTF-8 are replaced.

    Without `secrets`, the values of headers, which a receiver may repeat, or what follows `Bearer` in them.
    """
    known = {form for secret in secrets for form in (secret, secret.rpartition(" ")[2]) if form}
    text = (answer if known else answer[:EXCERPT_BYTES]).decode(errors="replace")
    if known:  # before it is cut, which could leave the beginning of one
        text = str(redaction.redacted(text, redaction.pattern_of(known)))
    return _UNPRINTABLE.sub("\ufffd", text[:EXCERPT_BYTES]).encode()[:EXCERPT_BYTES].decode(errors="ignore")
