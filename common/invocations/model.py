"""The frozen values that the stages pass on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from common.budgets import Rate
from common.tools import Price

ENDS = ("succeeded", "failed", "canceled", "expired")
#: The only failure that is charged: the tool did the work, and it cost more than the caller's `max_tokens`.
COST_EXCEEDED = "cost_exceeded"
#: How an ended invocation is counted in the usage log.
USAGE_STATUS = {"succeeded": "success", "canceled": "canceled", "expired": "expired"}


@dataclass(frozen=True, slots=True)
class Order:
    """What a caller asks for. `body` is the whole request as it came, for recognising a repeat.

    `end_user`: whom the caller makes it for; `rerun_of`: the invocation that it repeats; `not_before`: it waits until
    then, without a slot; `version`: only if that is the tool's current one; `priority`: -1, 0 or 1, among the account's
    own waiting invocations; `quote`: a signed quote, by which version and price hold; `stream`: the answer is shown
    while it is made.
    """

    input: object
    body: Mapping[str, object]
    request_id: str
    max_tokens: int | None = None
    expires_in: int = 86_400
    metadata: Mapping[str, str] = field(default_factory=dict)
    webhook_url: str | None = None
    webhook_events: tuple[str, ...] | None = None
    idempotency_key: str | None = None
    end_user: str | None = None
    rerun_of: UUID | None = None
    not_before: datetime | None = None
    version: int | None = None
    priority: int = 0
    quote: str | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Submitted:
    """An accepted invocation: the row is committed and the hold is taken. `replayed`: it was there already.

    `invocation` is how it was stored just now (queued), and `period_id` the period that its hold is of; None for a
    replay, which may have come further since.
    """

    id: UUID
    replayed: bool = False
    rate: Rate | None = None
    invocation: Invocation | None = None
    period_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A claimed invocation, as a worker holds it: everything it writes is fenced by `token`.

    `input` is JSON text: a worker has hundreds of these in hand, and read they would take many times as much.
    """

    id: UUID
    token: UUID
    user_id: UUID
    period_id: UUID
    tool_id: UUID
    tool_version_id: UUID
    input: str
    held: int
    attempt: int
    crash_count: int
    request_id: str
    seconds_left: float
    traceparent: str | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """What had been shown of an answer when it was canceled, and what that costs. `units`, `basis`: as of an end."""

    output: object
    cost: int = 0
    units: float | None = None
    basis: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """How a call ended. `cost` is the whole price in tokens (capped by the hold when it is charged): 0 for all but
    success and `COST_EXCEEDED`. `units`: the number that it was computed from, if it was; `basis`: how that is known.

    `operator_detail`: what was said of the error that is not for the owner. `shown`: what is kept and charged in its
    place if it turns out that the owner has canceled it.
    """

    status: str
    output: object = None
    cost: int = 0
    error_code: str | None = None
    error_detail: str | None = None
    http_status: int | None = None
    duration_ms: int | None = None
    operator_detail: str | None = None
    units: float | None = None
    basis: str | None = None
    shown: Shown | None = None

    @property
    def outcome(self) -> str:
        """The error code, or the status where there was no error: the outcome of the attempt."""
        return self.error_code or self.status

    @property
    def usage_status(self) -> str:
        """The status of its usage row."""
        return "timeout" if self.error_code == "tool_timeout" else USAGE_STATUS.get(self.status, "error")


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a queued invocation has not started, and until when at least (None: not known).

    `reason`: `slot` (others of the account have all of its slots), `queue` (no worker has taken it yet), `breaker` (its
    tool is not called for now), `retry` (between two attempts), `scheduled` (its `not_before` is yet to come).
    """

    reason: str
    detail: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class RequestedTool:
    """The tool that was asked for, where its fallback ran."""

    id: UUID
    slug: str


@dataclass(frozen=True, slots=True)
class Invocation:
    """An invocation as its owner sees it. `charged` is None until the end; `units`: the number that was priced."""

    id: UUID
    user_id: UUID
    status: str
    tool_id: UUID
    tool_slug: str
    tool_name: str
    tool_version: int
    #: JSON text; None: there is none yet, or it was dropped or not read.
    input: str | None
    output: str | None
    error_code: str | None
    error_detail: str | None
    metadata: Mapping[str, str]
    attempts: int
    held: int
    charged: int | None
    request_id: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime
    cancel_requested_at: datetime | None
    price: Price
    units: Decimal | None = None
    #: How they are known: `reported` or `metered`.
    basis: str | None = None
    stream: bool = False
    #: The key that it was submitted with; None: a session.
    api_key_id: UUID | None = None
    #: Whom the caller made it for; and the invocation that it repeats.
    end_user: str | None = None
    rerun_of: UUID | None = None
    not_before: datetime | None = None
    priority: int = 0
    requested_tool: RequestedTool | None = None
    #: Only while it is queued. `last_error`: code and detail of the attempt before.
    waiting: Waiting | None = None
    last_error: Mapping[str, str] | None = None
    #: Of input and output together, in bytes; `payloads` False: they were not read.
    payload_bytes: int = 0
    payloads: bool = True
    #: Of the request that made it (W3C Trace Context), where requests are traced and once it was read again.
    traceparent: str | None = None

    @property
    def is_charged(self) -> bool:
        """Whether anything is charged for it: its output, or what was shown of it before it was canceled."""
        is_partial = self.status == "canceled" and self.basis is not None
        return self.status == "succeeded" or is_partial or self.error_code == COST_EXCEEDED

    @property
    def ended(self) -> bool:
        """Whether its status is final."""
        return self.status in ENDS

    @property
    def sequence(self) -> int:
        """Counts the changes of status: 0 queued, 1 running, 2 queued again, …; the end is the last, always odd."""
        if self.status == "queued":
            return 2 * self.attempts
        return 2 * self.attempts + (1 if self.ended else -1)
