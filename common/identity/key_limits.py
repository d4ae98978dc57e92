"""What an API key may do at most, beside its scopes: its allowance, its rate, its tools; and whom it is for.

Limits never change once a key is made, and those of a delegated key include what it inherits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from common.models.accounts import ApiKey


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many tokens a key may use in a window: for ever (total), a day or a month in UTC."""

    tokens: int
    window: str


@dataclass(frozen=True, slots=True)
class KeyCap:
    """What one key, and all that come from it, may use, submit per minute and run at once (None: as the account)."""

    key_id: UUID
    allowance: Allowance | None
    rate_limit_per_minute: int | None
    max_concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """The limits of a caller's key. `caps`: of the key and of those that it was delegated from, the nearest first.

    `tools`: slugs (None: all). `end_user`: whom its invocations are for. `root_id`: of a delegated key, the key that it
    comes from in the end.
    """

    caps: tuple[KeyCap, ...] = ()
    tools: frozenset[str] | None = None
    end_user: str | None = None
    root_id: UUID | None = None
    ancestors: tuple[UUID, ...] = ()

    @property
    def counted(self) -> list[UUID]:
        """The keys whose allowance an invocation counts against."""
        return [cap.key_id for cap in self.caps if cap.allowance]

    @property
    def capped(self) -> UUID | None:
        """The key whose `max_concurrency` an invocation counts against."""
        return next((cap.key_id for cap in self.caps if cap.max_concurrency is not None), None)


class KnownCap(TypedDict):
    """A cap as it is cached. (Without `at_once`: by code that did not know it.)"""

    key: str
    tokens: int | None
    window: str | None
    rate: int | None
    at_once: NotRequired[int | None]


class KnownLimits(TypedDict):
    """Limits as they are cached."""

    caps: list[KnownCap]
    tools: list[str] | None
    end_user: str | None
    root: str | None
    ancestors: list[str]


def read(session: Session, key: ApiKey) -> KnownLimits | None:
    """The limits of a key; None if it has none."""
    ancestors = list(key.ancestors or ())
    above = session.scalars(select(ApiKey).where(ApiKey.id.in_(ancestors))).all() if ancestors else []
    by_id = {each.id: each for each in (key, *above)}
    caps = [_cap(by_id[each]) for each in (key.id, *ancestors)]
    limited = [cap for cap in caps if any(cap[name] is not None for name in ("tokens", "rate", "at_once"))]
    if not limited and key.tools is None and key.end_user is None and key.root_id is None:
        return None
    root = None if key.root_id is None else str(key.root_id)
    return KnownLimits(
        caps=limited, tools=key.tools, end_user=key.end_user, root=root, ancestors=[str(each) for each in ancestors]
    )


def _cap(key: ApiKey) -> KnownCap:
    tokens, window = key.allowance_tokens, key.allowance_window
    rate, at_once = key.rate_limit_per_minute, key.max_concurrency
    return KnownCap(key=str(key.id), tokens=tokens, window=window, rate=rate, at_once=at_once)


def of(known: KnownLimits | None) -> KeyLimits | None:
    """The limits that were read, perhaps some time ago."""
    if known is None:
        return None
    return KeyLimits(
        caps=_caps(known["caps"]),
        tools=None if known["tools"] is None else frozenset(known["tools"]),
        end_user=known["end_user"],
        root_id=None if known["root"] is None else UUID(known["root"]),
        ancestors=tuple(UUID(each) for each in known["ancestors"]),
    )


def _caps(known: Sequence[KnownCap]) -> tuple[KeyCap, ...]:
    return tuple(
        KeyCap(
            UUID(cap["key"]),
            None if cap["tokens"] is None else Allowance(cap["tokens"], str(cap["window"])),
            cap["rate"],
            cap.get("at_once"),
        )
        for cap in known
    )
