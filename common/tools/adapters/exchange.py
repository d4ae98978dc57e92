"""One request to a tool and what may come of it: a result, or a failure with a code of the wire contract."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from common.kit import clock, log, tracing
from common.kit.outbound import (
    Aborted,
    Answer,
    Broken,
    Call,
    OutboundClient,
    OutboundError,
    Refused,
    TimedOut,
    TooLarge,
)
from common.tools import Version
from common.tools.adapters import reading, redaction
from common.webhooks.schedule import retry_after

logger = log.get(__name__)

MAX_ANSWER = 5 * 1024 * 1024
#: Of an error answer that is longer, nothing is told.
MAX_ERROR = 64 * 1024
MAX_SAID = 300
#: Shorter secrets would blot out half of an answer, and protect nothing.
MIN_SECRET = 6
#: Another attempt may go better: the tool asks for it, or something between us and it was not up to it.
RETRIED = frozenset((408, 425, 429, 502, 503, 504, *range(520, 525), 529))
CREDENTIAL_REFUSED = "The tool refused the platform's credential."
#: Tells a tool how many units its caller pays for.
MAX_UNITS = "Joyfull-Max-Units"

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class Ids:
    """What goes along with a call: the tool sees one invocation id on every attempt."""

    invocation_id: UUID
    request_id: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """`output` is the answer, or the part at `result_pointer`; `units` is None when the price does not depend on it."""

    output: Any
    units: float | None
    http_status: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What a tool said, not yet read. To `read` it may take many times its `size` (bytes) until the result is dropped.

    `read` raises `ToolFailure`.
    """

    size: int
    read: Callable[[], ToolResult]


class ToolFailure(Exception):
    """An attempt that did not succeed. `code` and `detail` are shown to the user.

    `sent`: False only when the tool surely did not run. `transient`: another attempt may go better.
    `counts_against_tool`: its breaker should know; a client's mistakes (4xx) are none of the tool's.
    `operator_detail`: what only operators are told, where the user is told less.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        sent: bool,
        http_status: int | None = None,
        retry_after: float | None = None,
        transient: bool = False,
        counts_against_tool: bool = False,
        duration_ms: int | None = None,
        operator_detail: str | None = None,
    ) -> None:
        self.code = code
        self.detail = detail
        self.sent = sent
        self.http_status = http_status
        self.retry_after = retry_after
        self.transient = transient
        self.counts_against_tool = counts_against_tool
        self.duration_ms = duration_ms
        self.operator_detail = operator_detail
        super().__init__(f"{code}: {detail}")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What an adapter wants sent. `params` are query parameters; `secrets` are blotted out of what comes back."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    params: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()


def headers(
    version: Version, ids: Ids, secret: str | None, *, body: bool, max_units: int | None = None
) -> dict[str, str]:
    """The tool's own headers, then ours: its cannot replace the ids, the credential or the limit of units."""
    ours = {"Idempotency-Key": str(ids.invocation_id), "X-Request-ID": ids.request_id, **_credential(version, secret)}
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


def secrets_of(version: Version, secret: str | None) -> tuple[str, ...]:
    """Every form in which the credential goes out."""
    if secret is None:
        return ()
    basic = _basic(version, secret)
    forms = (secret, f"Bearer {secret}", basic, basic.replace("+", "-").replace("/", "_"))
    return tuple(form for form in forms if len(form) >= MIN_SECRET)


def send(outbound: OutboundClient, outgoing: Outgoing, *, seconds: float, call: Call | None) -> Answer:
    """The tool's answer, of whatever status below 300. Raises `ToolFailure`, or `Aborted`."""
    began = clock.monotonic()
    try:
        answer = outbound.request(
            outgoing.method,
            outgoing.url,
            headers=outgoing.headers,
            body=outgoing.body,
            params=outgoing.params,
            timeout=seconds,
            max_bytes=MAX_ANSWER,
            call=call,
        )
    except Aborted:
        raise
    except OutboundError as error:
        raise _no_answer(error, int((clock.monotonic() - began) * 1000)) from error
    if not 200 <= answer.status < 300:
        raise _refusal(answer, outgoing.secrets)
    return answer


def _no_answer(error: OutboundError, duration_ms: int) -> ToolFailure:
    if isinstance(error, Refused):
        logger.warning("target refused", reason=error.message)
    code = {TimedOut: "tool_timeout", TooLarge: "output_too_large"}.get(type(error), "tool_unreachable")
    if isinstance(error, Broken) and error.status is not None:
        code = "tool_bad_response"
    trouble = not isinstance(error, Refused | TooLarge)
    return ToolFailure(
        code,
        error.message,
        sent=error.sent,
        http_status=error.status,
        transient=trouble,
        counts_against_tool=trouble,
        duration_ms=duration_ms,
    )


def _refusal(answer: Answer, secrets: tuple[str, ...]) -> ToolFailure:
    status, said, unshown = answer.status, _said(answer, secrets), None
    if status < 400:
        code, detail = "tool_bad_response", f"The tool answered {status}; redirects are not followed."
    else:
        code = "tool_error" if status < 500 else "tool_failed"
        detail = f"The tool answered {status}" + (f": {said}" if said else ".")
    if status == 401 or (status == 403 and secrets):
        detail, unshown = CREDENTIAL_REFUSED, detail
        logger.warning("tool refused our credential", status=status, said=said)
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


def _said(answer: Answer, secrets: tuple[str, ...]) -> str:
    """The message of an error answer in one of the usual places, short and printable; empty when there is none."""
    if len(answer.body) > MAX_ERROR:
        return ""
    try:
        body = read(answer, secrets)
    except ToolFailure:
        return ""
    return message_of(body, secrets)


def message_of(body: Any, secrets: tuple[str, ...] = ()) -> str:
    """What an error body says in one of the usual places (OpenAI and its kin, problem+json), short and printable."""
    if not isinstance(body, dict):
        return ""
    inner = body.get("error")
    places = [inner] if isinstance(inner, str) else [inner.get("message")] if isinstance(inner, dict) else []
    said = next((text for text in (*places, body.get("detail"), body.get("message")) if isinstance(text, str)), "")
    return redaction.without_masked(_UNPRINTABLE.sub(" ", said[: 4 * MAX_SAID]).strip(), secrets)[:MAX_SAID]


def read(answer: Answer, secrets: tuple[str, ...]) -> Any:
    """The whole JSON answer. Raises `ToolFailure`."""
    try:
        return reading.parse(answer.headers.get("content-type", ""), answer.body, secrets)
    except reading.Unreadable as error:
        raise bad_response(answer, str(error)) from error


def result(version: Version, answer: Answer, whole: Any) -> ToolResult:
    """Output and units as the tool's version defines them. Raises `ToolFailure`."""
    per_unit = version.price.per_unit
    try:
        units = None if per_unit is None else reading.units(whole, per_unit["pointer"])
        output = whole if version.result_pointer is None else reading.at(whole, version.result_pointer)
    except reading.Unreadable as error:
        raise bad_response(answer, str(error)) from error
    except reading.Missing as error:
        raise bad_response(answer, f"The answer has nothing at {version.result_pointer}.") from error
    return ToolResult(output, units, answer.status, answer.duration_ms)


def bad_response(answer: Answer, detail: str) -> ToolFailure:
    return ToolFailure(
        "tool_bad_response", detail, sent=True, http_status=answer.status, duration_ms=answer.duration_ms
    )
