"""What the API answers about events. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from joyfull.models.base import Decoders, Model, to_datetime
from joyfull.models.tools import InvocationLinks


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationReference(Model):
    """Sent in place of an invocation if the body would exceed 256 kB; fetch it from `links.self`."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed", "canceled", "expired"] | str
    links: InvocationLinks

    _decoders: ClassVar[Decoders] = {"links": InvocationLinks.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetThreshold(Model):
    """BudgetThreshold, as the API sends it."""

    percent: Literal[80, 100]
    granted: int
    charged: int
    period_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyAllowanceReached(Model):
    """ApiKeyAllowanceReached, as the API sends it."""

    api_key_id: str
    tokens: int
    window: Literal["total", "day", "month"] | str
    charged: int
    held: int
    resets_at: datetime | None

    _decoders: ClassVar[Decoders] = {"resets_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionChanged(Model):
    """SubscriptionChanged, as the API sends it."""

    plan: str
    status: Literal["active", "canceled", "expired"] | str
    current_period_start: datetime
    current_period_end: datetime
    cancel_at_period_end: bool
    pending_plan: str | None

    _decoders: ClassVar[Decoders] = {"current_period_start": to_datetime, "current_period_end": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDisabled(Model):
    """WebhookDisabled, as the API sends it."""

    endpoint_id: str
    url: str
    disabled_reason: Literal["gone", "failing"] | str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRefusedProblem(Model):
    """ScheduleRefusedProblem, as the API sends it."""

    code: str
    title: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRefused(Model):
    """ScheduleRefused, as the API sends it."""

    schedule_id: str
    tool: str
    at: datetime
    problem: ScheduleRefusedProblem

    _decoders: ClassVar[Decoders] = {"at": to_datetime, "problem": ScheduleRefusedProblem.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTest(Model):
    """WebhookTest, as the API sends it."""

    endpoint_id: str
    message: str
