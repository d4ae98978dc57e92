"""What the API answers about statements. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar, Literal

from joyfull.models.base import Decoders, Model, to_date, to_datetime, to_tuple


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodTokens(Model):
    """PeriodTokens, as the API sends it."""

    granted: int | None
    charged: int
    held: int
    available: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Period(Model):
    """Period, as the API sends it."""

    id: str
    plan: str
    starts_at: datetime
    ends_at: datetime
    status: Literal["current", "canceled", "closed"] | str
    tokens: PeriodTokens

    _decoders: ClassVar[Decoders] = {"starts_at": to_datetime, "ends_at": to_datetime, "tokens": PeriodTokens.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledPeriod(Model):
    """BilledPeriod, as the API sends it."""

    id: str
    plan: str
    starts_at: datetime
    ends_at: datetime
    status: Literal["current", "canceled", "closed"] | str

    _decoders: ClassVar[Decoders] = {"starts_at": to_datetime, "ends_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantLine(Model):
    """GrantLine, as the API sends it."""

    id: str
    kind: Literal["plan", "upgrade", "admin", "carried", "rollover", "expiry"] | str
    tokens: int | None
    reason: str
    actor_id: str | None
    created_at: datetime
    expires_at: datetime | None
    source_id: str | None

    _decoders: ClassVar[Decoders] = {"created_at": to_datetime, "expires_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCharge(Model):
    """DayCharge, as the API sends it."""

    day: date
    invocations: int
    tokens: int

    _decoders: ClassVar[Decoders] = {"day": to_date}


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLine(Model):
    """HoldLine, as the API sends it."""

    invocation_id: str
    tool: str
    tokens: int
    created_at: datetime

    _decoders: ClassVar[Decoders] = {"created_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherHolds(Model):
    """OtherHolds, as the API sends it."""

    invocations: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCheck(Model):
    """LedgerCheck, as the API sends it."""

    at: datetime
    rows: int
    difference: int

    _decoders: ClassVar[Decoders] = {"at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement(Model):
    """Statement, as the API sends it."""

    granted: int | None
    charged: int
    held: int
    available: int | None
    period: BilledPeriod
    grants: tuple[GrantLine, ...]
    charges: tuple[DayCharge, ...]
    holds: tuple[HoldLine, ...]
    other_holds: OtherHolds
    checked: LedgerCheck | None

    _decoders: ClassVar[Decoders] = {
        "period": BilledPeriod.of,
        "grants": to_tuple(GrantLine.of),
        "charges": to_tuple(DayCharge.of),
        "holds": to_tuple(HoldLine.of),
        "other_holds": OtherHolds.of,
        "checked": LedgerCheck.of,
    }
