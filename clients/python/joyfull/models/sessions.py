"""What the API answers about sessions. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from joyfull.models.base import Decoders, Model, to_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Session(Model):
    """Session, as the API sends it."""

    id: str
    kind: Literal["api", "console"] | str
    created_at: datetime
    last_seen_at: datetime
    network: str | None
    user_agent: str | None
    current: bool

    _decoders: ClassVar[Decoders] = {"created_at": to_datetime, "last_seen_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedSessions(Model):
    """RevokedSessions, as the API sends it."""

    revoked: int
