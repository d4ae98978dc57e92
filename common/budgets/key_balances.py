"""API keys and credentials as they are shown: with what is left of their allowance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from common.budgets import spending
from common.budgets.spending import Spending
from common.budgets.windows import window_at
from common.identity.authorization import Caller
from common.kit import clock
from common.models.accounts import ApiKey


@dataclass(frozen=True, slots=True)
class AllowanceBalance:
    """An allowance in its current window, from the rows. `resets_at`: the end of the window; None: it has none."""

    tokens: int
    window: str
    charged: int
    held: int
    available: int
    resets_at: datetime | None

    @classmethod
    def of(cls, it: Spending) -> AllowanceBalance:
        """As the rows have it."""
        ends_at = window_at(it.kind, datetime.fromtimestamp(it.start, tz=clock.now().tzinfo)).ends_at
        return cls(it.tokens, it.kind, it.charged, it.held, it.available, ends_at)


@dataclass(frozen=True, slots=True)
class ListedKey:
    """An API key, without its text."""

    id: UUID
    name: str
    prefix: str
    last4: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    allowance: AllowanceBalance | None
    rate_limit_per_minute: int | None
    max_concurrency: int | None
    tools: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class ShownCredential:
    """What a caller has presented, and what is left of it."""

    kind: str
    key_id: UUID | None
    scopes: Sequence[str]
    expires_at: datetime | None
    allowance: AllowanceBalance | None


def listed(keys: Sequence[ApiKey]) -> list[ListedKey]:
    """These keys of one account, with what is left of their allowances."""
    limited = [key.id for key in keys if key.allowance_tokens is not None]
    spent = spending.now(keys[0].user_id, limited) if limited else {}
    return [_listed(key, spent.get(key.id)) for key in keys]


def _listed(key: ApiKey, spent: Spending | None) -> ListedKey:
    return ListedKey(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        last4=key.last4,
        scopes=key.scopes,
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        allowance=None if spent is None else AllowanceBalance.of(spent),
        rate_limit_per_minute=key.rate_limit_per_minute,
        max_concurrency=key.max_concurrency,
        tools=key.tools,
    )


def delegated(key: ApiKey, text: str) -> dict[str, object]:
    """A delegated key as it is shown to who has made it, with its `text`."""
    names = ("id", "prefix", "last4", "root_id", "scopes", "tools", "end_user", "created_at", "expires_at")
    spent = spending.now(key.user_id, [key.id])[key.id]
    return {
        **{name: getattr(key, name) for name in names},
        "key": text,
        "parent_id": key.ancestors[0] if key.ancestors else None,
        "allowance": AllowanceBalance.of(spent),
        "metadata": key.metadata_,
    }


def credential(caller: Caller) -> ShownCredential:
    """How the caller has proved who they are, and what that allows."""
    it, spent = caller.credential, None
    if it.key_id is not None and caller.limits is not None:
        spent = spending.now(caller.user_id, caller.limits.counted).get(it.key_id)
    allowance = None if spent is None else AllowanceBalance.of(spent)
    return ShownCredential(it.kind, it.key_id, it.scopes, it.expires_at, allowance)
