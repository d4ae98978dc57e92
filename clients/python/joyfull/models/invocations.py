"""What the API answers about invocations. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from joyfull.models.base import Decoders, Model, to_datetime, to_tuple
from joyfull.models.tools import Billing, InvocationError, InvocationLinks, InvokedTool, RequestedTool, Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedInvocation(Model):
    """ListedInvocation, as the API sends it."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "canceled", "expired"] | str
    tool: InvokedTool
    error: InvocationError | None
    metadata: dict[str, str]
    attempts: int
    last_error: InvocationError | None
    waiting: Waiting | None
    billing: Billing
    request_id: str
    api_key_id: str | None
    end_user: str | None
    rerun_of: str | None
    not_before: datetime | None
    priority: int
    stream: bool
    requested_tool: RequestedTool | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime
    cancel_requested_at: datetime | None
    poll_after_ms: int | None
    links: InvocationLinks
    input: Any = None
    output: Any = None

    _decoders: ClassVar[Decoders] = {
        "tool": InvokedTool.of,
        "error": InvocationError.of,
        "last_error": InvocationError.of,
        "waiting": Waiting.of,
        "billing": Billing.of,
        "not_before": to_datetime,
        "requested_tool": RequestedTool.of,
        "created_at": to_datetime,
        "started_at": to_datetime,
        "finished_at": to_datetime,
        "expires_at": to_datetime,
        "cancel_requested_at": to_datetime,
        "links": InvocationLinks.of,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelCounts(Model):
    """CancelCounts, as the API sends it."""

    canceled: int
    requested: int
    already_finished: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTool(Model):
    """FailedTool, as the API sends it."""

    id: str
    slug: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup(Model):
    """FailureGroup, as the API sends it."""

    tool: FailedTool
    code: str
    count: int
    first: datetime
    last: datetime
    example_id: str
    max_rerun_tokens: int | None

    _decoders: ClassVar[Decoders] = {"tool": FailedTool.of, "first": to_datetime, "last": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunPrice(Model):
    """RerunPrice, as the API sends it."""

    max_tokens: int | None
    input_stored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(Model):
    """Attempt, as the API sends it."""

    n: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    http_status: int | None
    error: InvocationError | None
    retry_at: datetime | None

    _decoders: ClassVar[Decoders] = {
        "started_at": to_datetime,
        "ended_at": to_datetime,
        "error": InvocationError.of,
        "retry_at": to_datetime,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt(Model):
    """DeliveryAttempt, as the API sends it."""

    at: datetime
    http_status: int | None
    duration_ms: int
    error: str | None
    response_excerpt: str | None

    _decoders: ClassVar[Decoders] = {"at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationDelivery(Model):
    """InvocationDelivery, as the API sends it."""

    id: str
    event_id: str
    event_type: (
        Literal[
            "invocation.queued",
            "invocation.running",
            "invocation.succeeded",
            "invocation.failed",
            "invocation.canceled",
            "invocation.expired",
            "budget.threshold",
            "api_key.allowance_reached",
            "subscription.changed",
            "webhook.disabled",
            "schedule.refused",
            "webhook.test",
        ]
        | str
    )
    status: Literal["pending", "delivered", "failed"] | str
    created_at: datetime
    next_attempt_at: datetime | None
    attempts: tuple[DeliveryAttempt, ...]
    endpoint_id: str | None

    _decoders: ClassVar[Decoders] = {
        "created_at": to_datetime,
        "next_attempt_at": to_datetime,
        "attempts": to_tuple(DeliveryAttempt.of),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemFault(Model):
    """ProblemFault, as the API sends it."""

    pointer: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem(Model):
    """RFC 9457 problem details. Some codes have additional members."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: tuple[ProblemFault, ...] | None = None

    _decoders: ClassVar[Decoders] = {"errors": to_tuple(ProblemFault.of)}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAnswer(Model):
    """BatchAnswer, as the API sends it."""

    status: int
    invocation: ListedInvocation | None = None
    problem: Problem | None = None

    _decoders: ClassVar[Decoders] = {"invocation": ListedInvocation.of, "problem": Problem.of}
