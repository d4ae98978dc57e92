"""One budget gate in Redis beside the rows in PostgreSQL, figure by figure: for the verification of the ledger.

Written apart from what makes gates and repairs them, so that a mistake there is seen here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from common import budgets
from common.kit import db, redis
from common.kit.query import Query


class PlacedId(NamedTuple):
    """An open invocation, whether it has a slot, and the API key that counts it among those that it may have."""

    id: UUID
    placed: bool
    counted_by: UUID | None


class PeriodRow(NamedTuple):
    """What a gate has to have been made from."""

    epoch: int
    server: int


_ROWS = Query(
    """
select id, slot is not null as placed, case when key_due_at is null then capped_key end as counted_by
  from queue where period_id = :period
""",
    PlacedId,
)
_PERIOD = Query(f"select epoch, {budgets.SERVER} as server from periods where id = :period", PeriodRow)  # noqa: S608


UNREADABLE = "Redis has something there that is no gate"


def differences(user_id: UUID, period_id: UUID) -> list[str]:
    """How the gate of a period differs from the rows, at this moment; nothing if it would be rebuilt anyway.

    Raises `db.Unreachable`, `redis.RedisUnreachable`: a server could not be read.
    """
    try:
        return _differences(user_id, period_id)
    except (redis.UnreadableKey, ValueError, KeyError):
        return [UNREADABLE]


def _differences(user_id: UUID, period_id: UUID) -> list[str]:
    gate = budgets.gate(user_id, period_id)
    if "epoch" not in gate or gate.get("run") != redis.run_id(budgets.budget_key(user_id, period_id)):
        return []  # no gate of the current Redis process: the next submit rebuilds it
    with db.snapshot() as session:
        period = next(iter(db.fetch(session, _PERIOD, {"period": period_id})), None)
        if period is None or (str(period.epoch), str(period.server)) != (gate["epoch"], gate.get("server")):
            return []  # outdated: holds under an old epoch, or for another server, cannot commit
        expected = _expected(session, period_id)
    shown = {name: gate[name] for name in ("granted", "charged", "held", "active")}
    holds = {id_: budgets.StoredHold.parse(hold).placed for id_, hold in budgets.holds_in(gate).items()}
    shown["keys"] = _counts({name[2:]: int(count) for name, count in gate.items() if name.startswith("a:")})
    shown["holds"] = " ".join(sorted(holds))
    shown["places"] = " ".join(sorted(id_ for id_, placed in holds.items() if placed))
    found = [
        f"{name}: Redis {shown[name]!r}, rows {value!r}" for name, value in expected.items() if shown[name] != value
    ]
    return [*found, *sorted(budgets.allowance_differences(user_id, period_id, older_than=-1))]


def _expected(session: Session, period_id: UUID) -> dict[str, str]:
    balance = budgets.balance(session, period_id)
    rows = db.fetch(session, _ROWS, {"period": period_id})
    return {
        "granted": str(balance.granted),
        "charged": str(balance.charged),
        "held": str(balance.held),
        "active": str(sum(row.placed for row in rows)),
        "keys": _counts(Counter(str(row.counted_by) for row in rows if row.counted_by)),
        "holds": " ".join(sorted(str(row.id) for row in rows)),
        "places": " ".join(sorted(str(row.id) for row in rows if row.placed)),
    }


def _counts(by_key: Mapping[str, int]) -> str:
    return " ".join(sorted(f"{key}={count}" for key, count in by_key.items() if count))
