"""What the API answers about usage. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from joyfull.models.base import Decoders, Model, to_datetime, to_tuple


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolName(Model):
    """ToolName, as the API sends it."""

    id: str
    slug: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEntry(Model):
    """UsageEntry, as the API sends it."""

    id: str
    invocation_id: str
    tool: ToolName
    status: Literal["success", "error", "timeout", "canceled", "expired"] | str
    tokens_used: int
    latency_ms: int | None
    http_status: int | None
    api_key_id: str | None
    api_key_root_id: str | None
    end_user: str | None
    created_at: datetime

    _decoders: ClassVar[Decoders] = {"tool": ToolName.of, "created_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFigures(Model):
    """UsageFigures, as the API sends it."""

    invocations: int
    succeeded: int
    failed: int
    tokens_used: int
    latency_p50_ms: int | None
    latency_p95_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageGroup(Model):
    """UsageGroup, as the API sends it."""

    invocations: int
    succeeded: int
    failed: int
    tokens_used: int
    latency_p50_ms: int | None
    latency_p95_ms: int | None
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRest(Model):
    """UsageRest, as the API sends it."""

    invocations: int
    succeeded: int
    failed: int
    tokens_used: int
    latency_p50_ms: int | None
    latency_p95_ms: int | None
    groups: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePoint(Model):
    """UsagePoint, as the API sends it."""

    invocations: int
    succeeded: int
    failed: int
    tokens_used: int
    latency_p50_ms: int | None
    latency_p95_ms: int | None
    start: datetime

    _decoders: ClassVar[Decoders] = {"start": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport(Model):
    """UsageReport, as the API sends it."""

    from_: datetime
    to: datetime
    bucket: Literal["hour", "day", "month"] | str
    group_by: Literal["tool", "status", "api_key", "api_key_root", "end_user"] | str | None
    totals: UsageFigures
    groups: tuple[UsageGroup, ...]
    rest: UsageRest | None
    series: tuple[UsagePoint, ...]
    complete_through: datetime

    _decoders: ClassVar[Decoders] = {
        "from_": to_datetime,
        "to": to_datetime,
        "totals": UsageFigures.of,
        "groups": to_tuple(UsageGroup.of),
        "rest": UsageRest.of,
        "series": to_tuple(UsagePoint.of),
        "complete_through": to_datetime,
    }
