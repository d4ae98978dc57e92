"""What the API answers about subscriptions. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from joyfull.models.base import Decoders, Model, to_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Model):
    """Plan, as the API sends it."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance(Model):
    """Balance, as the API sends it."""

    granted: int | None
    charged: int
    held: int
    available: int | None
    resets_at: datetime

    _decoders: ClassVar[Decoders] = {"resets_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription(Model):
    """Subscription, as the API sends it."""

    plan: str
    status: Literal["active", "canceled", "expired"] | str
    current_period_start: datetime
    current_period_end: datetime
    cancel_at_period_end: bool
    pending_plan: str | None
    tokens: Balance

    _decoders: ClassVar[Decoders] = {
        "current_period_start": to_datetime,
        "current_period_end": to_datetime,
        "tokens": Balance.of,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview(Model):
    """Preview, as the API sends it."""

    plan: Plan
    kind: Literal["begin", "raise", "lower", "undo", "resume", "nothing"] | str
    granted: int | None
    present: str | None
    ends_at: datetime | None

    _decoders: ClassVar[Decoders] = {"plan": Plan.of, "ends_at": to_datetime}
