"""One HTTP exchange with a tool: a result, or a failure with an error code of the API."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from common.kit import clock, log, redaction, tracing
from common.kit.http_headers import retry_after
from common.kit.outbound import (
    Aborted,
    Answer,
    Broken,
    OutboundClient,
    OutboundError,
    Refused,
    ResponseTooLarge,
    StreamedAnswer,
    TimedOut,
)
from common.tools import Version
from common.tools.adapters import reading, replies
from common.tools.adapters.model import ToolFailure, ToolRequest, ToolResult

logger = log.get(__name__)

MAX_ANSWER = 5 * 1024 * 1024
#: Longer error responses are not quoted.
MAX_ERROR = 64 * 1024
MAX_SAID = 300
#: Shorter secrets are not redacted: they would match everywhere, and protect nothing.
MIN_SECRET = 6
#: Statuses that are retried: the tool asks for it, or an intermediary failed.
RETRIED = frozenset((408, 425, 429, 502, 503, 504, *range(520, 525), 529))
#: `code`, `type` or `status` of an error about a credential, as providers name it.
_OF_CREDENTIALS = frozenset(
    {
        *("401", "403", "authentication_error", "invalid_api_key", "invalid_authentication", "permission_denied"),
        *("permission_error", "unauthenticated", "unauthorized"),
    }
)
CREDENTIAL_REFUSED = "The tool refused the platform's credential."
#: The two alphabets of base64 (RFC 4648 §5): a credential may be written in either.
_TO_URLSAFE, _FROM_URLSAFE = str.maketrans("+/", "-_"), str.maketrans("-_", "+/")
#: Request header: the most units that the caller pays for.
MAX_UNITS = "Joyfull-Max-Units"

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The HTTP request of an adapter. `params`: query parameters; `secrets`: redacted from the response."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    params: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()


def headers(request: ToolRequest, *, body: bool, max_units: int | None = None) -> dict[str, str]:
    """The tool's own headers, then ours, so that it cannot override the ids, the credential or the unit limit."""
    version, ids = request.version, request.ids
    ours = {"Idempotency-Key": str(ids.invocation_id), "X-Request-ID": ids.request_id}
    ours |= _credential(version, request.secret)
    ours |= tracing.headers() | ({} if max_units is None else {MAX_UNITS: str(max_units)})
    given = {"Accept": "application/json", **({"Content-Type": "application/json"} if body else {})}
    merged: dict[str, tuple[str, str]] = {}
    for name, value in (*given.items(), *version.headers.items(), *ours.items()):
        merged[name.lower()] = (name, value)
    return dict(merged.values())


def _credential(version: Version, secret: str | None) -> dict[str, str]:
    match version.auth.get("type", "none"), secret:
        case "bearer", str(secret):
            return {"Authorization": f"Bearer {secret}"}
        case "header", str(secret):
            return {str(version.auth["header_name"]): secret}
        case "basic", str(secret):
            return {"Authorization": f"Basic {_basic(version, secret)}"}
        case "none", _:
            return {}
    raise ToolFailure("credential_unavailable", "The tool's credential is missing.", sent=False)


def _basic(version: Version, secret: str) -> str:
    return base64.b64encode(f"{version.auth.get('username', '')}:{secret}".encode()).decode()


def secrets_of(request: ToolRequest) -> tuple[str, ...]:
    """Every encoding in which the credential is sent, and in which a tool may show what it got."""
    secret = request.secret
    if secret is None:
        return ()
    basic = _basic(request.version, secret)
    encoded = [basic, *(base64.b64encode(text.encode()).decode() for text in (secret, f"{secret}:"))]
    respelled = [form.translate(table) for form in (secret, *encoded) for table in (_TO_URLSAFE, _FROM_URLSAFE)]
    hexadecimal = secret.encode().hex()
    forms = (secret, f"Bearer {secret}", *encoded, *respelled, hexadecimal, hexadecimal.upper())
    return tuple(dict.fromkeys(form for form in forms if len(form) >= MIN_SECRET))


def send(outbound: OutboundClient, request: ToolRequest, outgoing: Outgoing) -> Answer:
    """Send the request and return a 2xx response. Raises `ToolFailure`, `Aborted`."""
    began = clock.monotonic()
    try:
        answer = outbound.request(
            outgoing.method,
            outgoing.url,
            headers=outgoing.headers,
            body=outgoing.body,
            params=outgoing.params,
            timeout=request.version.timeout_seconds,
            max_bytes=MAX_ANSWER,
            call=request.call,
        )
    except Aborted:
        raise
    except OutboundError as error:
        raise _no_answer(error, int((clock.monotonic() - began) * 1000)) from error
    if not 200 <= answer.status < 300:
        with replies.reading(answer.status):
            raise _refusal(answer, outgoing.secrets)
    return answer


@contextmanager
def streaming(outbound: OutboundClient, request: ToolRequest, outgoing: Outgoing) -> Iterator[StreamedAnswer]:
    """Send the request and read a 2xx response inside the block. Raises `ToolFailure`, `Aborted`."""
    began = clock.monotonic()
    try:
        with (
            outbound.stream(
                outgoing.method,
                outgoing.url,
                headers=outgoing.headers,
                body=outgoing.body,
                timeout=request.version.timeout_seconds,
                idle=request.version.idle_seconds,
                max_bytes=MAX_ANSWER,
                call=request.call,
            ) as answer,
            replies.reading(answer.status),
        ):
            if not 200 <= answer.status < 300:
                raise _refusal(whole(answer, began), outgoing.secrets)
            yield answer
    except Aborted:
        raise
    except OutboundError as error:
        raise _no_answer(error, int((clock.monotonic() - began) * 1000)) from error


def whole(answer: StreamedAnswer, began: float) -> Answer:
    """A response with all of its body, or with what is left of it; `began`: when it was asked for."""
    body = b"".join(answer.pieces)
    return Answer(answer.status, answer.headers, body, int((clock.monotonic() - began) * 1000))


def _no_answer(error: OutboundError, duration_ms: int) -> ToolFailure:
    if isinstance(error, Refused):
        logger.warning("outbound request refused", reason=error.message)
    code = {TimedOut: "tool_timeout", ResponseTooLarge: "output_too_large"}.get(type(error), "tool_unreachable")
    if isinstance(error, Broken) and error.status is not None:
        code = "tool_bad_response"
    is_failure = not isinstance(error, Refused | ResponseTooLarge)
    return ToolFailure(
        code,
        error.message,
        sent=error.sent,
        http_status=error.status,
        transient=is_failure,
        counts_against_tool=is_failure,
        duration_ms=duration_ms,
    )


def _refusal(answer: Answer, secrets: tuple[str, ...]) -> ToolFailure:
    status, body, unshown = answer.status, _body_of(answer, secrets), None
    said = message_of(body, secrets)
    if status < 400:
        code, detail = "tool_bad_response", f"The tool answered {status}; redirects are not followed."
    else:
        code = "tool_error" if status < 500 else "tool_failed"
        detail = f"The tool answered {status}" + (f": {said}" if said else ".")
    if status == 401 or (secrets and (status == 403 or _names_credential(body))):
        detail, unshown = CREDENTIAL_REFUSED, detail
        logger.warning("tool rejected the platform's credential", status=status, message=said)
    return ToolFailure(
        code,
        detail,
        sent=True,
        http_status=status,
        retry_after=retry_after(answer.headers.get("retry-after"), clock.now()) if status in RETRIED else None,
        transient=status in RETRIED,
        counts_against_tool=status >= 500,
        duration_ms=answer.duration_ms,
        operator_detail=unshown,
    )


def _body_of(answer: Answer, secrets: tuple[str, ...]) -> object:
    """What an error response says; None if it is large, or cannot be read."""
    if len(answer.body) > MAX_ERROR:
        return None
    try:
        return read(answer, secrets)
    except ToolFailure:
        return None


def _names_credential(body: object) -> bool:
    """Whether an error body, whatever its status, is about the credential that was sent."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return False
    return any(str(error.get(name)).lower() in _OF_CREDENTIALS for name in ("code", "type", "status"))


def unusable(answer: Answer, what: str, body: object, secrets: tuple[str, ...]) -> ToolFailure:
    """A failure for a response that is of another kind, as `what` says: some tell of errors with status 200."""
    said = message_of(body, secrets)
    failure = bad_response(answer, what + (f": {said}" if said else "."))
    if secrets and _names_credential(body):
        failure.detail, failure.operator_detail = CREDENTIAL_REFUSED, failure.detail
        logger.warning("tool rejected the platform's credential", status=answer.status, message=said)
    return failure


def message_of(body: object, secrets: tuple[str, ...] = ()) -> str:
    """The message of an error body (OpenAI style or problem+json), short and printable; empty if there is none."""
    if not isinstance(body, dict):
        return ""
    inner = body.get("error")
    places = [inner] if isinstance(inner, str) else [inner.get("message")] if isinstance(inner, dict) else []
    said = next((text for text in (*places, body.get("detail"), body.get("message")) if isinstance(text, str)), "")
    return redaction.without_masked(_UNPRINTABLE.sub(" ", said[: 4 * MAX_SAID]).strip(), secrets)[:MAX_SAID]


def read(answer: Answer, secrets: tuple[str, ...]) -> object:
    """Parse the JSON response. Raises `ToolFailure`."""
    try:
        return reading.parse(answer.headers.get("content-type", ""), answer.body, secrets)
    except reading.Unreadable as error:
        raise bad_response(answer, str(error)) from error


def result(version: Version, answer: Answer, whole: object) -> ToolResult:
    """Extract output and units as the tool's version defines them. Raises `ToolFailure`."""
    per_unit = version.price.per_unit
    basis = None if per_unit is None else "reported"
    try:
        units = None if per_unit is None else reading.units(whole, per_unit["pointer"])
        output = whole if version.result_pointer is None else reading.at(whole, version.result_pointer)
    except reading.Unreadable as error:
        raise bad_response(answer, str(error)) from error
    except reading.Missing as error:
        raise bad_response(answer, f"The answer has nothing at {version.result_pointer}.") from error
    return ToolResult(output, units, answer.status, answer.duration_ms, basis)


def bad_response(answer: Answer, detail: str) -> ToolFailure:
    """A failure for a response that cannot be used."""
    return ToolFailure(
        "tool_bad_response", detail, sent=True, http_status=answer.status, duration_ms=answer.duration_ms
    )
