"""What the API answers about webhooks. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from joyfull.models.base import Decoders, Model, to_datetime, to_tuple
from joyfull.models.invocations import DeliveryAttempt


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint(Model):
    """WebhookEndpoint, as the API sends it."""

    id: str
    url: str
    events: tuple[
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
        | str,
        ...,
    ]
    description: str | None
    status: Literal["enabled", "disabled"] | str
    disabled_reason: Literal["gone", "failing", "manual"] | str | None
    rate_limit_per_second: int | None
    headers: dict[str, str]
    payload: Literal["full", "thin"] | str
    include: tuple[Literal["receipt"] | str, ...]
    created_at: datetime

    _decoders: ClassVar[Decoders] = {"events": tuple, "include": tuple, "created_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpointWithSecret(Model):
    """WebhookEndpointWithSecret, as the API sends it."""

    secret: str
    id: str
    url: str
    events: tuple[
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
        | str,
        ...,
    ]
    description: str | None
    status: Literal["enabled", "disabled"] | str
    disabled_reason: Literal["gone", "failing", "manual"] | str | None
    rate_limit_per_second: int | None
    headers: dict[str, str]
    payload: Literal["full", "thin"] | str
    include: tuple[Literal["receipt"] | str, ...]
    created_at: datetime

    _decoders: ClassVar[Decoders] = {"events": tuple, "include": tuple, "created_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHealth(Model):
    """EndpointHealth, as the API sends it."""

    delivered: int
    failed: int
    pending: int
    at: datetime | None
    http_status: int | None
    error: str | None

    _decoders: ClassVar[Decoders] = {"at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSecret(Model):
    """WebhookSecret, as the API sends it."""

    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(Model):
    """Delivery, as the API sends it."""

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

    _decoders: ClassVar[Decoders] = {
        "created_at": to_datetime,
        "next_attempt_at": to_datetime,
        "attempts": to_tuple(DeliveryAttempt.of),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayable(Model):
    """Replayable, as the API sends it."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay(Model):
    """Replay, as the API sends it."""

    replayed: int
    has_more: bool
