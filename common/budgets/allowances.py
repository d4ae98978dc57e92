"""What API keys have used and hold, as the gate keeps it beside an account's budget: made from rows, and compared.

One hash per account (`common/lua/hold.lua` says what is in it). It goes with the gate of the account's open period:
both are made by the same rebuild, from one snapshot, and a hold that counts against an allowance is taken only then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from common.budgets import spending
from common.budgets.model import allowances_key
from common.budgets.spending import CountedHold, Spending
from common.budgets.truth import SERVER
from common.budgets.windows import window_at
from common.kit import clock, db, redis
from common.kit.query import Query

#: Holds that are read at once when the hash is compared.
PIECE = 2_000
#: A hash with more fields is not compared: to read it whole would stop Redis for a while.
WHOLE_MOST = 20_000
UNREADABLE = "what its API keys have used cannot be read"


def fields(session: Session, user_id: UUID, at_once: int) -> Iterator[list[str]]:
    """The fields of an account's hash in pieces (field, value, field, value, …), computed from rows of one moment.

    What was used is summed up before the first piece. A hold without its time. Keys that have used and hold nothing are
    left out, as `hold.lua` takes them for that.
    """
    used = spending.charged(session, user_id)
    held: Counter[UUID] = Counter()
    for piece in spending.holds(session, user_id, at_once):
        for hold in piece:
            held.update(dict.fromkeys(hold.api_keys, hold.held))
        yield [word for hold in piece for word in (f"h:{hold.id}", f"{hold.held},{_joined(hold)}")]
    entries = [word for id_, it in used.items() if it.charged or held[id_] for word in _entry(id_, it, held[id_])]
    for begin in range(0, len(entries), 2 * at_once):
        yield entries[begin : begin + 2 * at_once]


def _entry(key_id: UUID, it: Spending, held: int) -> tuple[str, str]:
    return f"k:{key_id}", f"{it.kind},{it.start},{it.charged},{held}"


def _joined(hold: CountedHold) -> str:
    return " ".join(str(key) for key in hold.api_keys)


# -- beside the rows -----------------------------------------------------------------------------------------------


class EndedRow(NamedTuple):
    """What an ended invocation was charged, and when."""

    id: UUID
    charged: int
    at: datetime


class LimitedAccount(NamedTuple):
    """An account that has living keys with an allowance."""

    user_id: UUID


class OpenPeriod(NamedTuple):
    """What the hash of an account has to go with to be believed."""

    id: UUID
    epoch: int
    server: int


_ENDED = Query(
    """
select invocation_id as id, tokens_used as charged, created_at as at
  from usage_logs where invocation_id = any(cast(:ids as uuid[]))
""",
    EndedRow,
)
_LIMITED = Query(
    """
select u.user_id from unnest(cast(:users as uuid[])) u(user_id)
 where exists (select from api_keys k where k.user_id = u.user_id and k.allowance_tokens is not null
                  and k.revoked_at is null and (k.expires_at is null or k.expires_at > now()))
""",
    LimitedAccount,
)
_OPEN_PERIOD = Query(
    f"select id, epoch, {SERVER} as server from periods where user_id = :user_id and closed_at is null",  # noqa: S608
    OpenPeriod,
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the hash says of a key."""

    kind: str
    start: int
    charged: int
    held: int


@dataclass(frozen=True, slots=True)
class _KeyedHold:
    """What the hash says of a hold."""

    amount: int
    since: float
    keys: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class _Stored:
    """The hash as it stands."""

    entries: Mapping[UUID, _Entry]
    holds: Mapping[UUID, _KeyedHold]

    @classmethod
    def of(cls, hash_: Mapping[str, str]) -> _Stored:
        """Raises `ValueError` for what cannot be read."""
        entries, holds = {}, {}
        for name, value in hash_.items():
            if name.startswith("k:"):
                kind, start, charged, held = value.split(",")
                entries[UUID(name[2:])] = _Entry(kind, int(start), int(charged), int(held))
            elif name.startswith("h:"):
                amount, since, keys = value.split(",")
                holds[UUID(name[2:])] = _KeyedHold(int(amount), float(since), tuple(map(UUID, keys.split())))
        return cls(entries, holds)

    def held(self) -> Counter[UUID]:
        """What the holds add up to, by key."""
        held: Counter[UUID] = Counter()
        for hold in self.holds.values():
            held.update(dict.fromkeys(hold.keys, hold.amount))
        return held


def limited(users: Sequence[UUID]) -> set[UUID]:
    """Those of these accounts that have living keys with an allowance."""
    return {row.user_id for row in db.execute(_LIMITED, {"users": list(users)})}


def differences(user_id: UUID, period_id: UUID, older_than: float) -> frozenset[str]:
    """How what is kept beside the gate of a period differs from the rows; what was only on its way is left out as far
    as the rows tell.

    Empty if it admits nobody (it is of another run of Redis, or goes with another gate), or is too large to be read.
    Raises `db.Unreachable`, `redis.RedisUnreachable`.
    """
    key = allowances_key(user_id)
    with redis.reachable():
        if redis.client().hlen(key) > WHOLE_MOST:
            return frozenset()
        hash_ = redis.mapping(redis.client().hgetall(key))
    run = redis.run_id(key)
    with db.snapshot() as session:
        period = next(iter(db.fetch(session, _OPEN_PERIOD, {"user_id": user_id})), None)
        if period is None or period.id != period_id or hash_.get("run") != run:
            return frozenset()
        if hash_.get("made") != f"{period.id}:{period.epoch}:{period.server}":
            return frozenset()
        try:
            stored = _Stored.of(hash_)
        except ValueError:
            return frozenset({UNREADABLE})
        used = spending.charged(session, user_id)
        rows = {hold.id: hold for piece in spending.holds(session, user_id, PIECE) for hold in piece}
        ended = db.fetch(session, _ENDED, {"ids": list(stored.holds.keys() - rows.keys())})
    return _off(stored, used, ended) | _miscounted(stored) | _unlike(stored, rows, clock.wall() - older_than)


def _off(stored: _Stored, used: Mapping[UUID, Spending], ended: Sequence[EndedRow]) -> frozenset[str]:
    """By how much each key's charges are off; a charge whose hold is still there has not been told yet."""
    found = set()
    for key_id, it in used.items():
        entry = stored.entries.get(key_id, _Entry(it.kind, it.start, 0, 0))
        if entry.start > it.start:
            found.add(f"API key {key_id}: window {entry.start} instead of {it.start}")
        charged = entry.charged if entry.start == it.start else 0
        untold = sum(
            row.charged
            for row in ended
            if key_id in stored.holds[row.id].keys and window_at(it.kind, row.at).start == it.start
        )
        if by := charged + untold - it.charged:
            found.add(f"API key {key_id}: charged {by:+d}")
    return frozenset(found)


def _miscounted(stored: _Stored) -> frozenset[str]:
    """What is held beside the holds, which change together."""
    held = stored.held()
    return frozenset(
        f"API key {key_id}: held {entry.held - held[key_id]:+d}"
        for key_id, entry in stored.entries.items()
        if entry.held != held[key_id]
    )


def _unlike(stored: _Stored, rows: Mapping[UUID, CountedHold], horizon: float) -> frozenset[str]:
    """Holds that have no open row or one that is unlike, unless they are younger than that; and rows without a hold."""
    found = {f"no hold for {id_} of an API key" for id_ in rows.keys() - stored.holds.keys()}
    for id_, hold in stored.holds.items():
        row = rows.get(id_)
        if hold.since < horizon and (row is None or (row.held, tuple(row.api_keys)) != (hold.amount, hold.keys)):
            found.add(f"hold {id_} of an API key: {hold.amount}")
    return frozenset(found)
