"""What the API answers about delegated_keys. Written by generate.py: do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from joyfull.models.base import Decoders, Model, to_datetime
from joyfull.models.profile_and_api_keys import Allowance


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegatedKey(Model):
    """DelegatedKey, as the API sends it."""

    id: str
    key: str
    prefix: str
    last4: str
    parent_id: str | None
    root_id: str | None
    scopes: tuple[
        Literal[
            "tools:read",
            "invocations:read",
            "invocations:write",
            "usage:read",
            "webhooks:manage",
            "subscriptions:read",
            "keys:delegate",
        ]
        | str,
        ...,
    ]
    tools: tuple[str, ...] | None
    allowance: Allowance
    end_user: str | None
    metadata: dict[str, str]
    created_at: datetime
    expires_at: datetime

    _decoders: ClassVar[Decoders] = {
        "scopes": tuple,
        "tools": tuple,
        "allowance": Allowance.of,
        "created_at": to_datetime,
        "expires_at": to_datetime,
    }
