"""What the API answers about admin. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from joyfull.models.base import Decoders, Model, to_datetime, to_tuple
from joyfull.models.tools import Billing, InvocationError, InvocationLinks, InvokedTool, Price, RequestedTool, Waiting
from joyfull.models.usage import UsageFigures, UsagePoint


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminUser(Model):
    """AdminUser, as the API sends it."""

    id: str
    email: str
    name: str
    role: Literal["user", "admin"] | str
    is_active: bool
    email_verified: bool
    created_at: datetime
    plan: str | None
    deleted_at: datetime | None

    _decoders: ClassVar[Decoders] = {"created_at": to_datetime, "deleted_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(Model):
    """Grant, as the API sends it."""

    id: str
    user_id: str
    tokens: int
    reason: str
    actor_id: str | None
    created_at: datetime
    expires_at: datetime | None

    _decoders: ClassVar[Decoders] = {"created_at": to_datetime, "expires_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAuth(Model):
    """ToolAuth, as the API sends it."""

    type: Literal["none", "bearer", "header", "basic"] | str
    header_name: str | None = None
    username: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminTool(Model):
    """AdminTool, as the API sends it."""

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
    endpoint_url: str
    adapter: Literal["http_json", "chat_completion", "embeddings"] | str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] | str
    headers: dict[str, str]
    auth: ToolAuth
    result_pointer: str | None
    is_active: bool
    archived_at: datetime | None
    created_at: datetime

    _decoders: ClassVar[Decoders] = {
        "price": Price.of,
        "last_used_at": to_datetime,
        "auth": ToolAuth.of,
        "archived_at": to_datetime,
        "created_at": to_datetime,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminVersion(Model):
    """AdminVersion, as the API sends it."""

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
    endpoint_url: str
    adapter: Literal["http_json", "chat_completion", "embeddings"] | str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] | str
    headers: dict[str, str]
    auth: ToolAuth
    result_pointer: str | None

    _decoders: ClassVar[Decoders] = {"price": Price.of, "created_at": to_datetime, "auth": ToolAuth.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFault(Model):
    """TrialFault, as the API sends it."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial(Model):
    """Trial, as the API sends it."""

    status: Literal["succeeded", "failed"] | str
    output: Any
    error: TrialFault | None
    tokens: int
    http_status: int | None
    latency_ms: int | None
    version: int

    _decoders: ClassVar[Decoders] = {"error": TrialFault.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker(Model):
    """Breaker, as the API sends it."""

    state: Literal["closed", "open", "half_open"] | str
    failures: int
    opened_at: datetime | None
    retry_at: datetime | None

    _decoders: ClassVar[Decoders] = {"opened_at": to_datetime, "retry_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProblem(Model):
    """ImportProblem, as the API sends it."""

    detail: str
    blocking: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedTool(Model):
    """ImportedTool, as the API sends it."""

    slug: str
    name: str
    description: str | None
    method: str
    path: str
    endpoint_url: str | None
    headers: dict[str, str]
    input_schema: dict[str, Any] | None
    output_schema: dict[str, Any] | None
    example_input: Any
    auth: ToolAuth
    is_importable: bool
    problems: tuple[ImportProblem, ...]

    _decoders: ClassVar[Decoders] = {"auth": ToolAuth.of, "problems": to_tuple(ImportProblem.of)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedTool(Model):
    """CreatedTool, as the API sends it."""

    id: str
    slug: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Import(Model):
    """Import, as the API sends it."""

    tools: tuple[ImportedTool, ...]
    omitted: int
    created: tuple[CreatedTool, ...]

    _decoders: ClassVar[Decoders] = {"tools": to_tuple(ImportedTool.of), "created": to_tuple(CreatedTool.of)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminPlan(Model):
    """AdminPlan, as the API sends it."""

    slug: str
    name: str
    description: str
    monthly_tokens: int | None
    price_cents: int
    currency: str
    rate_limit_per_minute: int | None
    max_concurrency: int | None
    max_streams: int | None
    max_payload_bytes: int | None
    rollover_percent: int
    id: str
    is_active: bool
    position: int
    created_at: datetime

    _decoders: ClassVar[Decoders] = {"created_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminInvocation(Model):
    """AdminInvocation, as the API sends it."""

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
    user_id: str
    operator_detail: str | None
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
class TopTool(Model):
    """TopTool, as the API sends it."""

    id: str
    invocations: int
    failed: int
    tokens_used: int
    slug: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUser(Model):
    """TopUser, as the API sends it."""

    id: str
    invocations: int
    failed: int
    tokens_used: int
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformLatencies(Model):
    """PlatformLatencies, as the API sends it."""

    p50: int | None
    p95: int | None
    p99: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformStats(Model):
    """PlatformStats, as the API sends it."""

    from_: datetime
    to: datetime
    bucket: Literal["hour", "day", "month"] | str
    totals: UsageFigures
    series: tuple[UsagePoint, ...]
    top_tools: tuple[TopTool, ...]
    top_users: tuple[TopUser, ...]
    active_users: int
    error_rate: float
    latency_ms: PlatformLatencies
    queue_depth: int
    oldest_queued_seconds: int

    _decoders: ClassVar[Decoders] = {
        "from_": to_datetime,
        "to": to_datetime,
        "totals": UsageFigures.of,
        "series": to_tuple(UsagePoint.of),
        "top_tools": to_tuple(TopTool.of),
        "top_users": to_tuple(TopUser.of),
        "latency_ms": PlatformLatencies.of,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry(Model):
    """AuditEntry, as the API sends it."""

    id: str
    created_at: datetime
    actor_kind: Literal["session", "api_key", "link", "operator", "platform"] | str
    actor_id: str | None
    action: str
    target_type: str
    target_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str | None
    ip: str | None

    _decoders: ClassVar[Decoders] = {"created_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue(Model):
    """Queue, as the API sends it."""

    running: int
    ready: int
    waiting: int
    oldest_due_seconds: float
    held_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCall(Model):
    """RunningCall, as the API sends it."""

    invocation_id: str
    tool: str
    attempt: int
    claimed_at: datetime

    _decoders: ClassVar[Decoders] = {"claimed_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerProcess(Model):
    """WorkerProcess, as the API sends it."""

    id: str
    name: str
    started_at: datetime
    heartbeat_at: datetime
    progress_at: datetime
    is_alive: bool
    stopping: bool
    running: tuple[RunningCall, ...]

    _decoders: ClassVar[Decoders] = {
        "started_at": to_datetime,
        "heartbeat_at": to_datetime,
        "progress_at": to_datetime,
        "running": to_tuple(RunningCall.of),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep(Model):
    """Sweep, as the API sends it."""

    name: str
    ran_at: datetime
    duration_ms: int
    runs: int
    failures: int

    _decoders: ClassVar[Decoders] = {"ran_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDeliveries(Model):
    """PendingDeliveries, as the API sends it."""

    running: int
    waiting: int
    parked: int
    oldest_due_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrippedBreaker(Model):
    """TrippedBreaker, as the API sends it."""

    tool: str
    state: Literal["open", "half_open"] | str
    failures: int
    opened_at: datetime | None
    retry_at: datetime | None

    _decoders: ClassVar[Decoders] = {"opened_at": to_datetime, "retry_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference(Model):
    """Difference, as the API sends it."""

    invariant: str
    where: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerVerification(Model):
    """LedgerVerification, as the API sends it."""

    id: str
    started_at: datetime
    finished_at: datetime
    invocations: int
    periods: int
    gates: int
    differences: int
    examples: tuple[Difference, ...]

    _decoders: ClassVar[Decoders] = {
        "started_at": to_datetime,
        "finished_at": to_datetime,
        "examples": to_tuple(Difference.of),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Model):
    """Finding, as the API sends it."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingPart(Model):
    """MissingPart, as the API sends it."""

    part: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview(Model):
    """Overview, as the API sends it."""

    as_of: datetime
    version: str
    queue: Queue | None
    workers: tuple[WorkerProcess, ...] | None
    sweeps: tuple[Sweep, ...] | None
    deliveries: PendingDeliveries | None
    breakers: tuple[TrippedBreaker, ...] | None
    last_verification: LedgerVerification | None
    findings: tuple[Finding, ...] | None
    unavailable: tuple[MissingPart, ...]

    _decoders: ClassVar[Decoders] = {
        "as_of": to_datetime,
        "queue": Queue.of,
        "workers": to_tuple(WorkerProcess.of),
        "sweeps": to_tuple(Sweep.of),
        "deliveries": PendingDeliveries.of,
        "breakers": to_tuple(TrippedBreaker.of),
        "last_verification": LedgerVerification.of,
        "findings": to_tuple(Finding.of),
        "unavailable": to_tuple(MissingPart.of),
    }
