"""What the API answers about schedules. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from joyfull.models.base import Decoders, Model, to_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledTool(Model):
    """ScheduledTool, as the API sends it."""

    id: str
    slug: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LastFiring(Model):
    """LastFiring, as the API sends it."""

    at: datetime
    invocation_id: str | None
    problem: dict[str, Any] | None

    _decoders: ClassVar[Decoders] = {"at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(Model):
    """Schedule, as the API sends it."""

    id: str
    tool: ScheduledTool
    input: Any
    cron: str | None
    every_seconds: int | None
    timezone: str
    webhook_url: str | None
    metadata: dict[str, str]
    max_tokens: int | None
    paused: bool
    next_at: datetime | None
    last: LastFiring | None
    created_at: datetime
    updated_at: datetime

    _decoders: ClassVar[Decoders] = {
        "tool": ScheduledTool.of,
        "next_at": to_datetime,
        "last": LastFiring.of,
        "created_at": to_datetime,
        "updated_at": to_datetime,
    }
