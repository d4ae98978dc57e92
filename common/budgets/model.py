"""Frozen values of the budget, and the names of its keys in Redis (braces: one hash slot per account)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from common.budgets.windows import ALWAYS, AllowanceWindow
from common.identity.authorization_cache import Remembered


@dataclass(frozen=True, slots=True)
class KeyShare:
    """What one API key may take of an account's budget in a window, and how often (None = as much as the account)."""

    key_id: UUID
    tokens: int | None
    window: AllowanceWindow
    rate_limit_per_minute: int | None
    max_concurrency: int | None = None


def capped_share(key_id: UUID, max_concurrency: int) -> KeyShare:
    """A key of which nothing counts but how many it may have at once."""
    return KeyShare(key_id, None, ALWAYS, None, max_concurrency)


@dataclass(frozen=True, slots=True)
class Account:
    """Whose budget: one user in one period, with the limits of the plan (None = unlimited).

    `keys`: the API keys that a submit has to fit as well, the nearest first. `caller`: what is remembered of who asks,
    which a hold confirms in the same step.
    """

    user_id: UUID
    period_id: UUID
    max_concurrency: int | None
    rate_limit_per_minute: int | None
    keys: tuple[KeyShare, ...] = ()
    caller: Remembered | None = field(default=None, compare=False)

    @property
    def counted(self) -> tuple[KeyShare, ...]:
        """The keys that have an allowance."""
        return tuple(key for key in self.keys if key.tokens is not None)

    @property
    def capped(self) -> KeyShare | None:
        """The key that has a `max_concurrency`: only keys that were made by hand can, so one of a line at most."""
        return next((key for key in self.keys if key.max_concurrency is not None), None)

    @property
    def rates(self) -> tuple[tuple[str, int], ...]:
        """Every limit of submits per minute, with the Redis key of its window."""
        limits = [(rate_key(self.user_id), self.rate_limit_per_minute)]
        limits += [(rate_key(self.user_id, key.key_id), key.rate_limit_per_minute) for key in self.keys]
        return tuple((name, limit) for name, limit in limits if limit is not None)


@dataclass(frozen=True, slots=True)
class Rate:
    """The submit quota as the client is told (IETF RateLimit fields); seconds to the next window."""

    limit: int
    remaining: int
    reset: int


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold that was taken: `slot` is None when the invocation has to wait for one of its account's to end.

    `waits_for_key`: it has to wait for one of its API key's first, which has as many slots as it may have.
    It is good for rows written under its `epoch` and by the run of PostgreSQL that the gate was made from (`server`),
    and only within `window`, if it counts against the allowance of an API key.
    """

    epoch: int
    slot: int | None
    rate: Rate | None
    server: int
    window: AllowanceWindow | None = None
    waits_for_key: bool = False


@dataclass(frozen=True, slots=True)
class SameKey:
    """Another request with this Idempotency-Key is in progress, for that invocation."""

    invocation_id: UUID


@dataclass(frozen=True, slots=True)
class Balance:
    """One period's books in tokens, from rows.

    `unlimited`: by its plan. Such a period is granted more tokens than can be used, so that the arithmetic is the
    same; the number is never shown.
    """

    granted: int
    charged: int
    held: int
    unlimited: bool = False

    @property
    def available(self) -> int:
        """What a new hold may take."""
        return self.granted - self.charged - self.held

    @property
    def shown(self) -> dict[str, int | None]:
        """As it is shown; None means unlimited."""
        granted, available = self.shown_granted, self.shown_available
        return {"granted": granted, "charged": self.charged, "held": self.held, "available": available}

    @property
    def shown_granted(self) -> int | None:
        """What was granted, as it is shown: None means unlimited."""
        return None if self.unlimited else self.granted

    @property
    def shown_available(self) -> int | None:
        """What is available, as it is shown: None means unlimited."""
        return None if self.unlimited else self.available


@dataclass(frozen=True, slots=True)
class Settled:
    """The gate's figures right before and after a charge, to detect a threshold being reached."""

    granted: int
    before: int
    after: int

    def reached(self, percent: int) -> bool:
        """Whether `percent` of what was granted are used up, by this charge or before."""
        return self.granted > 0 and self.after * 100 >= self.granted * percent


@dataclass(frozen=True, slots=True)
class Move:
    """A row went into a slot, or out of one (None). Rows number their moves: the gate believes the highest.

    `admitted`: it has no slot, but its API key, which has a `max_concurrency`, counts it.
    """

    invocation_id: UUID
    number: int
    slot: int | None
    admitted: bool = False

    def words(self) -> tuple[str, int, int]:
        """The move as the Lua scripts take it: id, number, slot (0: waiting; -1: admitted by its API key)."""
        return str(self.invocation_id), self.number, self.slot or (ADMITTED if self.admitted else 0)


@dataclass(frozen=True, slots=True)
class Settlement:
    """A committed completion, for the gate: what was charged, and the rows that moved with it.

    `last`: the last move of the completed row. `message`: for waiting clients. `counted_at`: the moment of its usage
    row, if the allowance of an API key counts it.
    """

    user_id: UUID
    period_id: UUID
    last: Move
    charge: int
    moves: tuple[Move, ...] = ()
    message: str = ""
    counted_at: datetime | None = None


#: Stands for a slot: none yet, but its API key, which has a `max_concurrency`, counts it.
ADMITTED = -1

# -- holds in the gate -----------------------------------------------------------------------------------------

#: The fields of a gate's hash that are holds: this prefix and the invocation's id. (`common/lua` writes them.)
_HOLD_PREFIX = "h:"


@dataclass(frozen=True, slots=True)
class StoredHold:
    """A hold as it stands in the gate: `amount,slot,since,moves[,API key]`; `slot` 0, -1: waiting, `since`: Unix time.

    `key`: an API key that has a `max_concurrency`; empty: none.
    """

    amount: int
    slot: int
    since: float
    key: str = ""

    @classmethod
    def parse(cls, text: str) -> StoredHold:
        """Raises `ValueError` for what is no hold."""
        amount, slot, since, _, *key = text.split(",")
        return cls(int(amount), int(slot), float(since), "".join(key))

    @property
    def placed(self) -> bool:
        """Whether its invocation has a slot."""
        return self.slot > 0

    @property
    def counted_by(self) -> str:
        """The API key that counts it among what it may have at once; empty: none."""
        return self.key if self.slot else ""


def holds_in(gate: Mapping[str, str]) -> dict[str, str]:
    """The holds among the fields of a gate's hash, unparsed, by the id of their invocation."""
    return {name.removeprefix(_HOLD_PREFIX): value for name, value in gate.items() if name.startswith(_HOLD_PREFIX)}


# -- names of keys ---------------------------------------------------------------------------------------------


_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_BUDGET_KEY = re.compile(rf"budget:\{{({_UUID})\}}:({_UUID})")


def budget_key(user_id: UUID, period_id: UUID) -> str:
    """The hash of an account's budget gate in one period."""
    return f"budget:{{{user_id}}}:{period_id}"


def allowances_key(user_id: UUID) -> str:
    """The hash of what the account's API keys have used and hold, beside the gate of its open period."""
    return f"allowances:{{{user_id}}}"


def rate_key(user_id: UUID, key_id: UUID | None = None) -> str:
    """The account's window of submits, or that of one of its API keys: its start (Unix time) and count."""
    return f"rate:{{{user_id}}}" if key_id is None else f"rate:{{{user_id}}}:{key_id}"


def idempotency_key(user_id: UUID, key: str | None) -> str:
    """Set while a request with this Idempotency-Key is in progress; "-" without one."""
    return "-" if key is None else f"idem:{{{user_id}}}:{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def hold_field(invocation_id: UUID) -> str:
    """The field of the budget gate that an invocation's hold is in, from its submit until its end is settled."""
    return f"{_HOLD_PREFIX}{invocation_id}"


def waiters_key(user_id: UUID, invocation_id: UUID) -> str:
    """Set while a client waits for this invocation; `settle` publishes only then."""
    return f"wait:{{{user_id}}}:{invocation_id}"


def owner_of(key: str) -> tuple[UUID, UUID] | None:
    """Whose gate that is: user and period; None for a key that is no gate's."""
    found = _BUDGET_KEY.fullmatch(key)
    return (UUID(found[1]), UUID(found[2])) if found else None


def period_of(key: str) -> UUID:
    """The period of a gate. Raises `ValueError` for a key that is no gate's."""
    owner = owner_of(key)
    if owner is None:
        raise ValueError(f"not the key of a budget gate: {key!r}")
    return owner[1]
