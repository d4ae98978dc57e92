"""What the API answers about tools. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from joyfull.models.base import Decoders, Model, to_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PerUnit(Model):
    """PerUnit, as the API sends it."""

    pointer: str
    tokens: float
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered(Model):
    """Metered, as the API sends it."""

    chars_per_unit: int
    input: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Price(Model):
    """Price, as the API sends it."""

    base_tokens: int
    per_unit: PerUnit | None
    max_tokens: int
    metered: Metered | None = None

    _decoders: ClassVar[Decoders] = {"per_unit": PerUnit.of, "metered": Metered.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSummary(Model):
    """ToolSummary, as the API sends it."""

    id: str
    slug: str
    name: str
    description: str | None
    category: str | None
    price: Price
    is_available: bool
    latency_p50_ms: int | None
    latency_p95_ms: int | None
    last_used_at: datetime | None

    _decoders: ClassVar[Decoders] = {"price": Price.of, "last_used_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool(Model):
    """Tool, as the API sends it."""

    id: str
    slug: str
    name: str
    description: str | None
    category: str | None
    price: Price
    is_available: bool
    latency_p50_ms: int | None
    latency_p95_ms: int | None
    last_used_at: datetime | None
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    timeout_seconds: int
    max_attempts: int
    idempotent: bool
    streaming: bool
    idle_seconds: int
    version: int
    example_input: Any
    fallback: str | None

    _decoders: ClassVar[Decoders] = {"price": Price.of, "last_used_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class Version(Model):
    """Version, as the API sends it."""

    version: int
    is_current: bool
    price: Price
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    example_input: Any
    timeout_seconds: int
    max_attempts: int
    idempotent: bool
    streaming: bool
    idle_seconds: int
    created_at: datetime

    _decoders: ClassVar[Decoders] = {"price": Price.of, "created_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokedTool(Model):
    """InvokedTool, as the API sends it."""

    id: str
    slug: str
    name: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationError(Model):
    """InvocationError, as the API sends it."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(Model):
    """Waiting, as the API sends it."""

    reason: Literal["slot", "queue", "breaker", "retry", "scheduled"] | str
    until: datetime | None
    detail: str

    _decoders: ClassVar[Decoders] = {"until": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class Billing(Model):
    """Billing, as the API sends it."""

    held: int
    charged: int
    outcome: Literal["pending", "charged", "free"] | str
    reason: str | None
    price: Price
    units: float | None
    basis: Literal["reported", "metered"] | str | None
    receipt: str | None = None

    _decoders: ClassVar[Decoders] = {"price": Price.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedTool(Model):
    """RequestedTool, as the API sends it."""

    id: str
    slug: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationLinks(Model):
    """InvocationLinks, as the API sends it."""

    self: str
    cancel: str
    events: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation(Model):
    """Invocation, as the API sends it."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "canceled", "expired"] | str
    tool: InvokedTool
    input: Any
    output: Any
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
class Quote(Model):
    """Quote, as the API sends it."""

    tool: InvokedTool
    requested_tool: RequestedTool | None
    version: int
    price: Price
    max_tokens: int
    max_units: int | None
    expected_tokens: int | None
    available: int | None
    allowed: bool
    reason: str | None
    waiting: Waiting | None
    estimated_wait_seconds: int
    quote: str | None

    _decoders: ClassVar[Decoders] = {
        "tool": InvokedTool.of,
        "requested_tool": RequestedTool.of,
        "price": Price.of,
        "waiting": Waiting.of,
    }
