"""What the API answers about forecast. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from joyfull.models.base import Decoders, Model, to_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace(Model):
    """Pace, as the API sends it."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting(Model):
    """Lasting, as the API sends it."""

    low: datetime | None
    middle: datetime | None
    high: datetime | None

    _decoders: ClassVar[Decoders] = {"low": to_datetime, "middle": to_datetime, "high": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast(Model):
    """Forecast, as the API sends it."""

    available: int | None
    pace_per_day: Pace
    lasts_until: Lasting
    resets_at: datetime

    _decoders: ClassVar[Decoders] = {"pace_per_day": Pace.of, "lasts_until": Lasting.of, "resets_at": to_datetime}
