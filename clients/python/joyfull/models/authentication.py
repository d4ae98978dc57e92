"""What the API answers about authentication. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from joyfull.models.base import Decoders, Model, to_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Model):
    """User, as the API sends it."""

    id: str
    email: str
    name: str
    role: Literal["user", "admin"] | str
    is_active: bool
    email_verified: bool
    created_at: datetime

    _decoders: ClassVar[Decoders] = {"created_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPair(Model):
    """TokenPair, as the API sends it."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] | str
    expires_in: int
