"""What requests take. Written by generate.py: do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Required, TypedDict


class Registration(TypedDict, total=False):
    """Registration, as the API takes it."""

    email: Required[str]
    password: Required[str]
    name: Required[str]


class Credentials(TypedDict, total=False):
    """Credentials, as the API takes it."""

    email: Required[str]
    password: Required[str]


class RefreshToken(TypedDict, total=False):
    """RefreshToken, as the API takes it."""

    refresh_token: Required[str]


class EmailAddress(TypedDict, total=False):
    """EmailAddress, as the API takes it."""

    email: Required[str]


class NewPassword(TypedDict, total=False):
    """NewPassword, as the API takes it."""

    password: Required[str]


class ProfileChanges(TypedDict, total=False):
    """ProfileChanges, as the API takes it."""

    name: str
    password: str
    current_password: str


class Deletion(TypedDict, total=False):
    """Deletion, as the API takes it."""

    password: Required[str]


class AllowanceIn(TypedDict, total=False):
    """AllowanceIn, as the API takes it."""

    tokens: Required[int]
    window: Required[Literal["total", "day", "month"]]


class ApiKeyIn(TypedDict, total=False):
    """ApiKeyIn, as the API takes it."""

    name: Required[str]
    scopes: Sequence[
        Literal[
            "tools:read",
            "invocations:read",
            "invocations:write",
            "usage:read",
            "webhooks:manage",
            "subscriptions:read",
            "keys:delegate",
            "admin",
        ]
    ]
    expires_at: datetime | None
    allowance: AllowanceIn | None
    rate_limit_per_minute: int | None
    max_concurrency: int | None
    tools: Sequence[str] | None


class ApiKeyRotation(TypedDict, total=False):
    """ApiKeyRotation, as the API takes it."""

    overlap_seconds: int


class DelegationIn(TypedDict, total=False):
    """DelegationIn, as the API takes it."""

    tokens: Required[int]
    expires_in: Required[int]
    tools: Sequence[str]
    scopes: Sequence[
        Literal[
            "tools:read",
            "invocations:read",
            "invocations:write",
            "usage:read",
            "webhooks:manage",
            "subscriptions:read",
            "keys:delegate",
        ]
    ]
    end_user: str
    metadata: Mapping[str, str]


class SubmitOptions(TypedDict, total=False):
    """SubmitOptions, as the API takes it."""

    max_tokens: int
    expires_in: int
    metadata: Mapping[str, str]
    end_user: str
    not_before: datetime
    version: int
    priority: int
    quote: str
    stream: bool
    webhook_url: str
    webhook_events: Sequence[
        Literal[
            "completed",
            "invocation.queued",
            "invocation.running",
            "invocation.succeeded",
            "invocation.failed",
            "invocation.canceled",
            "invocation.expired",
        ]
    ]


class SubmitIn(TypedDict, total=False):
    """SubmitIn, as the API takes it."""

    input: Required[Any]
    max_tokens: int
    expires_in: int
    metadata: Mapping[str, str]
    end_user: str
    not_before: datetime
    version: int
    priority: int
    quote: str
    stream: bool
    webhook_url: str
    webhook_events: Sequence[
        Literal[
            "completed",
            "invocation.queued",
            "invocation.running",
            "invocation.succeeded",
            "invocation.failed",
            "invocation.canceled",
            "invocation.expired",
        ]
    ]


class QuoteIn(TypedDict, total=False):
    """QuoteIn, as the API takes it."""

    input: Required[Any]
    max_tokens: int


class CancelManyIn(TypedDict, total=False):
    """CancelManyIn, as the API takes it."""

    from_: datetime
    to: datetime
    tool: str
    idempotency_key: str
    request_id: str
    metadata: Mapping[str, str]
    api_key: str
    end_user: str
    error: Literal[
        "tool_error",
        "tool_failed",
        "tool_timeout",
        "tool_unreachable",
        "tool_bad_response",
        "output_too_large",
        "output_rejected",
        "credential_unavailable",
        "worker_lost",
        "cost_exceeded",
    ]
    rerun_of: str
    ids: Sequence[str]
    status: Sequence[Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]]
    confirm: int


class RerunIn(TypedDict, total=False):
    """RerunIn, as the API takes it."""

    input: Any
    metadata: Mapping[str, str]
    max_tokens: int


class BatchItem(TypedDict, total=False):
    """BatchItem, as the API takes it."""

    input: Required[Any]
    max_tokens: int
    expires_in: int
    metadata: Mapping[str, str]
    end_user: str
    not_before: datetime
    version: int
    priority: int
    quote: str
    stream: bool
    webhook_url: str
    webhook_events: Sequence[
        Literal[
            "completed",
            "invocation.queued",
            "invocation.running",
            "invocation.succeeded",
            "invocation.failed",
            "invocation.canceled",
            "invocation.expired",
        ]
    ]
    tool: Required[str]
    idempotency_key: str


class BatchIn(TypedDict, total=False):
    """BatchIn, as the API takes it."""

    items: Required[Sequence[BatchItem]]


class ScheduleIn(TypedDict, total=False):
    """ScheduleIn, as the API takes it."""

    tool: Required[str]
    input: Required[Any]
    cron: str
    every_seconds: int
    timezone: str
    webhook_url: str | None
    metadata: Mapping[str, str]
    max_tokens: int | None
    paused: bool


class ScheduleChanges(TypedDict, total=False):
    """ScheduleChanges, as the API takes it."""

    input: Any
    cron: str
    every_seconds: int
    timezone: str
    webhook_url: str | None
    metadata: Mapping[str, str]
    max_tokens: int | None
    paused: bool


class WebhookEndpointIn(TypedDict, total=False):
    """WebhookEndpointIn, as the API takes it."""

    url: Required[str]
    events: Sequence[
        Literal[
            "completed",
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
    ]
    description: str | None
    rate_limit_per_second: int | None
    headers: Mapping[str, str]
    payload: Literal["full", "thin"]
    include: Sequence[Literal["receipt"]]


class WebhookEndpointChanges(TypedDict, total=False):
    """WebhookEndpointChanges, as the API takes it."""

    url: str
    events: Sequence[
        Literal[
            "completed",
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
    ]
    description: str | None
    status: Literal["enabled", "disabled"]
    rate_limit_per_second: int | None
    headers: Mapping[str, str]
    payload: Literal["full", "thin"]
    include: Sequence[Literal["receipt"]]


class ReplayIn(TypedDict, total=False):
    """ReplayIn, as the API takes it."""

    since: Required[datetime]


class SubscribeIn(TypedDict, total=False):
    """SubscribeIn, as the API takes it."""

    plan: Required[str]


class CancelIn(TypedDict, total=False):
    """CancelIn, as the API takes it."""

    at_period_end: bool


class UserChanges(TypedDict, total=False):
    """UserChanges, as the API takes it."""

    role: Literal["user", "admin"]
    is_active: bool


class GrantIn(TypedDict, total=False):
    """GrantIn, as the API takes it."""

    tokens: Required[int]
    reason: Required[str]
    expires_at: datetime


class ToolAuthIn(TypedDict, total=False):
    """ToolAuthIn, as the API takes it."""

    type: Required[Literal["none", "bearer", "header", "basic"]]
    secret: str
    header_name: str
    username: str


class PerUnitIn(TypedDict, total=False):
    """PerUnitIn, as the API takes it."""

    pointer: Required[str]
    tokens: Required[float]
    unit: Required[str]


class MeteredIn(TypedDict, total=False):
    """MeteredIn, as the API takes it."""

    chars_per_unit: Required[int]
    input: bool


class PriceIn(TypedDict, total=False):
    """PriceIn, as the API takes it."""

    base_tokens: Required[int]
    per_unit: PerUnitIn | None
    metered: MeteredIn | None
    max_tokens: Required[int]


class ToolIn(TypedDict, total=False):
    """ToolIn, as the API takes it."""

    slug: Required[str]
    name: Required[str]
    description: str | None
    category: str | None
    endpoint_url: Required[str]
    adapter: Literal["http_json", "chat_completion", "embeddings"]
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    headers: Mapping[str, str]
    auth: ToolAuthIn
    input_schema: Required[Mapping[str, Any]]
    output_schema: Mapping[str, Any] | None
    example_input: Any
    result_pointer: str | None
    price: Required[PriceIn]
    timeout_seconds: int
    max_attempts: int
    idempotent: bool
    streaming: bool
    idle_seconds: int
    is_active: bool
    fallback: str | None


class ToolChanges(TypedDict, total=False):
    """ToolChanges, as the API takes it."""

    slug: str
    name: str
    description: str | None
    category: str | None
    endpoint_url: str
    adapter: Literal["http_json", "chat_completion", "embeddings"]
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    headers: Mapping[str, str]
    auth: ToolAuthIn
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None
    example_input: Any
    result_pointer: str | None
    price: PriceIn
    timeout_seconds: int
    max_attempts: int
    idempotent: bool
    streaming: bool
    idle_seconds: int
    is_active: bool
    fallback: str | None


class TrialIn(TypedDict, total=False):
    """TrialIn, as the API takes it."""

    input: Any


class ImportIn(TypedDict, total=False):
    """ImportIn, as the API takes it."""

    document: Mapping[str, Any]
    url: str
    base_url: str
    show: Sequence[str]
    create: Sequence[str]
    price: PriceIn
    auth: ToolAuthIn


class PlanIn(TypedDict, total=False):
    """PlanIn, as the API takes it."""

    name: Required[str]
    description: str
    monthly_tokens: Required[int | None]
    price_cents: int
    currency: str
    rate_limit_per_minute: int | None
    max_concurrency: int | None
    max_streams: int | None
    max_payload_bytes: int | None
    rollover_percent: int
    is_active: bool
    position: int
    slug: Required[str]


class PlanChanges(TypedDict, total=False):
    """PlanChanges, as the API takes it."""

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
    is_active: bool
    position: int


class UsersListKeysQuery(TypedDict, total=False):
    """UsersListKeysQuery, as the API takes it."""

    limit: int


class SessionsIndexQuery(TypedDict, total=False):
    """SessionsIndexQuery, as the API takes it."""

    limit: int


class ToolsIndexQuery(TypedDict, total=False):
    """ToolsIndexQuery, as the API takes it."""

    limit: int
    q: str
    category: str


class ToolsShowQuery(TypedDict, total=False):
    """ToolsShowQuery, as the API takes it."""

    version: int


class ToolsVersionsQuery(TypedDict, total=False):
    """ToolsVersionsQuery, as the API takes it."""

    limit: int


class InvocationsIndexQuery(TypedDict, total=False):
    """InvocationsIndexQuery, as the API takes it."""

    limit: int
    from_: datetime
    to: datetime
    tool: str
    idempotency_key: str
    request_id: str
    metadata: Mapping[str, str]
    api_key: str
    end_user: str
    error: Literal[
        "tool_error",
        "tool_failed",
        "tool_timeout",
        "tool_unreachable",
        "tool_bad_response",
        "output_too_large",
        "output_rejected",
        "credential_unavailable",
        "worker_lost",
        "cost_exceeded",
    ]
    rerun_of: str
    status: (
        Sequence[Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]]
        | Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]
    )
    payloads: bool


class InvocationsShowQuery(TypedDict, total=False):
    """InvocationsShowQuery, as the API takes it."""

    wait: int


class InvocationsFailuresQuery(TypedDict, total=False):
    """InvocationsFailuresQuery, as the API takes it."""

    limit: int
    from_: datetime
    to: datetime


class InvocationsEventsQuery(TypedDict, total=False):
    """InvocationsEventsQuery, as the API takes it."""

    output: bool


class InvocationsAttemptsQuery(TypedDict, total=False):
    """InvocationsAttemptsQuery, as the API takes it."""

    limit: int


class InvocationsDeliveriesQuery(TypedDict, total=False):
    """InvocationsDeliveriesQuery, as the API takes it."""

    limit: int


class SchedulesIndexQuery(TypedDict, total=False):
    """SchedulesIndexQuery, as the API takes it."""

    limit: int


class WebhooksIndexQuery(TypedDict, total=False):
    """WebhooksIndexQuery, as the API takes it."""

    limit: int


class WebhooksDeliveriesQuery(TypedDict, total=False):
    """WebhooksDeliveriesQuery, as the API takes it."""

    limit: int
    status: Sequence[Literal["pending", "delivered", "failed"]] | Literal["pending", "delivered", "failed"]


class WebhooksReplayableQuery(TypedDict, total=False):
    """WebhooksReplayableQuery, as the API takes it."""

    since: Required[datetime]


class EventsIndexQuery(TypedDict, total=False):
    """EventsIndexQuery, as the API takes it."""

    limit: int
    from_: datetime
    type: (
        Sequence[
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
        ]
        | Literal[
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
    )
    wait: int
    payloads: bool


class UsageIndexQuery(TypedDict, total=False):
    """UsageIndexQuery, as the API takes it."""

    from_: datetime
    to: datetime
    tool: str
    status: (
        Sequence[Literal["success", "error", "timeout", "canceled", "expired"]]
        | Literal["success", "error", "timeout", "canceled", "expired"]
    )
    end_user: str
    api_key: str
    limit: int


class UsageSummaryQuery(TypedDict, total=False):
    """UsageSummaryQuery, as the API takes it."""

    from_: datetime
    to: datetime
    bucket: Literal["hour", "day", "month"]
    group_by: Literal["tool", "status", "api_key", "api_key_root", "end_user"]
    end_user: str
    api_key: str


class UsageExportQuery(TypedDict, total=False):
    """UsageExportQuery, as the API takes it."""

    from_: datetime
    to: datetime
    tool: str
    status: (
        Sequence[Literal["success", "error", "timeout", "canceled", "expired"]]
        | Literal["success", "error", "timeout", "canceled", "expired"]
    )
    end_user: str
    api_key: str
    format: Literal["csv", "ndjson"]


class SubscriptionsPlansQuery(TypedDict, total=False):
    """SubscriptionsPlansQuery, as the API takes it."""

    limit: int


class SubscriptionsPreviewQuery(TypedDict, total=False):
    """SubscriptionsPreviewQuery, as the API takes it."""

    plan: Required[str]


class StatementsPeriodsQuery(TypedDict, total=False):
    """StatementsPeriodsQuery, as the API takes it."""

    limit: int


class StatementsShowQuery(TypedDict, total=False):
    """StatementsShowQuery, as the API takes it."""

    period: str


class StatementsCheckQuery(TypedDict, total=False):
    """StatementsCheckQuery, as the API takes it."""

    period: str


class AdminUsersIndexQuery(TypedDict, total=False):
    """AdminUsersIndexQuery, as the API takes it."""

    limit: int
    q: str
    role: Literal["user", "admin"]
    is_active: bool
    plan: str


class AdminUsersIndexKeysQuery(TypedDict, total=False):
    """AdminUsersIndexKeysQuery, as the API takes it."""

    limit: int


class AdminToolsIndexQuery(TypedDict, total=False):
    """AdminToolsIndexQuery, as the API takes it."""

    limit: int
    q: str
    category: str
    is_active: bool
    is_archived: bool


class AdminToolsVersionsQuery(TypedDict, total=False):
    """AdminToolsVersionsQuery, as the API takes it."""

    limit: int


class PlansIndexQuery(TypedDict, total=False):
    """PlansIndexQuery, as the API takes it."""

    limit: int


class AdminInvocationsIndexQuery(TypedDict, total=False):
    """AdminInvocationsIndexQuery, as the API takes it."""

    limit: int
    from_: datetime
    to: datetime
    tool: str
    idempotency_key: str
    request_id: str
    metadata: Mapping[str, str]
    api_key: str
    end_user: str
    error: Literal[
        "tool_error",
        "tool_failed",
        "tool_timeout",
        "tool_unreachable",
        "tool_bad_response",
        "output_too_large",
        "output_rejected",
        "credential_unavailable",
        "worker_lost",
        "cost_exceeded",
    ]
    rerun_of: str
    status: (
        Sequence[Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]]
        | Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]
    )
    payloads: bool
    user: str


class AdminUsageStatsQuery(TypedDict, total=False):
    """AdminUsageStatsQuery, as the API takes it."""

    from_: datetime
    to: datetime
    bucket: Literal["hour", "day", "month"]


class AdminAuditIndexQuery(TypedDict, total=False):
    """AdminAuditIndexQuery, as the API takes it."""

    from_: datetime
    to: datetime
    limit: int
    actor: str
    action: str
    target_type: str
    target: str


class AdminOperationsBooksQuery(TypedDict, total=False):
    """AdminOperationsBooksQuery, as the API takes it."""

    limit: int
