"""What the API answers about profile_and_api_keys. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from joyfull.models.base import Decoders, Model, to_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance(Model):
    """Allowance, as the API sends it."""

    tokens: int
    window: Literal["total", "day", "month"] | str
    charged: int
    held: int
    available: int
    resets_at: datetime | None

    _decoders: ClassVar[Decoders] = {"resets_at": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential(Model):
    """Credential, as the API sends it."""

    kind: Literal["session", "api_key"] | str
    key_id: str | None
    scopes: tuple[
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
        | str,
        ...,
    ]
    expires_at: datetime | None
    allowance: Allowance | None

    _decoders: ClassVar[Decoders] = {"scopes": tuple, "expires_at": to_datetime, "allowance": Allowance.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Model):
    """Profile, as the API sends it."""

    id: str
    email: str
    name: str
    role: Literal["user", "admin"] | str
    is_active: bool
    email_verified: bool
    created_at: datetime
    credential: Credential

    _decoders: ClassVar[Decoders] = {"created_at": to_datetime, "credential": Credential.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey(Model):
    """ApiKey, as the API sends it."""

    id: str
    name: str
    prefix: str
    last4: str
    scopes: tuple[
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
        | str,
        ...,
    ]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    allowance: Allowance | None
    rate_limit_per_minute: int | None
    max_concurrency: int | None
    tools: tuple[str, ...] | None

    _decoders: ClassVar[Decoders] = {
        "scopes": tuple,
        "created_at": to_datetime,
        "expires_at": to_datetime,
        "last_used_at": to_datetime,
        "allowance": Allowance.of,
        "tools": tuple,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class PageMeta(Model):
    """PageMeta, as the API sends it."""

    limit: int
    has_more: bool
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyWithText(Model):
    """ApiKeyWithText, as the API sends it."""

    id: str
    name: str
    prefix: str
    last4: str
    scopes: tuple[
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
        | str,
        ...,
    ]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    allowance: Allowance | None
    rate_limit_per_minute: int | None
    max_concurrency: int | None
    tools: tuple[str, ...] | None
    key: str

    _decoders: ClassVar[Decoders] = {
        "scopes": tuple,
        "created_at": to_datetime,
        "expires_at": to_datetime,
        "last_used_at": to_datetime,
        "allowance": Allowance.of,
        "tools": tuple,
    }
