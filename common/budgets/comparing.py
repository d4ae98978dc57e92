"""The gate beside the rows, figure by figure.

Between a change of the rows and the word of it to the gate there is always a moment, so one look proves nothing: what
is the same at two looks, a second apart, is not on its way any more. A difference is a string that says by how much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from common.budgets import allowances, truth
from common.budgets.model import StoredHold, holds_in, owner_of, period_of
from common.kit import clock, db, redis
from common.kit.query import Query

#: A gate with more fields is compared by its figures alone: to read it whole would stop Redis for a while.
WHOLE_MOST = 20_000
UNREADABLE = "it cannot be read"
UNKNOWN_PERIOD = "the database does not know its period"
_FIGURES = ("run", "epoch", "server", "granted", "charged", "held", "active")
#: `capped`: how many API keys are counted.
_READ = (*_FIGURES, "capped")


@dataclass(frozen=True, slots=True)
class Gate:
    """One account's hash as Redis has it. Only when read whole: `holds` (id → "amount,slot,since,moves[,API key]"),
    and `counts` (API key → how many of its holds have a slot or are `ADMITTED`).
    """

    key: str
    figures: Mapping[str, str]
    size: int
    holds: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether all of its fields were read, holds included."""
        return self.size <= WHOLE_MOST

    @property
    def known(self) -> bool:
        """Whether anything is admitted by it; one without an epoch or a server is rebuilt by the next submit."""
        return "epoch" in self.figures and "server" in self.figures

    def number(self, figure: str) -> int:
        """One of its figures. Raises `KeyError`, `ValueError` when it is missing or no number."""
        return int(self.figures[figure])

    def old_holds(self, older_than: float) -> dict[str, str]:
        """Holds that were taken more than so many seconds ago: their rows are not on their way any more."""
        horizon = clock.wall() - older_than
        return {id_: value for id_, value in self.holds.items() if StoredHold.parse(value).since < horizon}


def read(keys: Sequence[str]) -> list[Gate]:
    """Those of these gates that can be read at all, each as it is at one moment. Raises `redis.RedisUnreachable`."""

    def shortly(pipeline: redis.Pipeline, key: str) -> None:
        pipeline.hlen(key)
        pipeline.hmget(key, _READ)

    short = redis.readable(keys, shortly)
    small = [key for key, (size, _) in short.items() if size <= WHOLE_MOST]
    whole = redis.readable(small, lambda pipeline, key: pipeline.hgetall(key))
    large = {key: said for key, said in short.items() if said[0] > WHOLE_MOST}
    return [
        *(_whole(key, fields) for key, (fields,) in whole.items()),
        *(_figures(key, *it) for key, it in large.items()),
    ]


def _whole(key: str, fields: Mapping[str, str]) -> Gate:
    figures = {name: fields[name] for name in _READ if name in fields}
    counts = {name[2:]: value for name, value in fields.items() if name.startswith("a:")}
    return Gate(key, figures, len(fields), holds_in(fields), counts)


def _figures(key: str, size: int, said: Sequence[str | None]) -> Gate:
    return Gate(key, {name: value for name, value in zip(_READ, said, strict=True) if value is not None}, size)


# -- beside the rows -----------------------------------------------------------------------------------------------


class BooksRow(NamedTuple):
    """What the rows say of a period: the figures that a gate should have."""

    id: UUID
    epoch: int
    server: int
    charged: Decimal
    granted: Decimal
    held: Decimal
    active: int
    open: int


class PlacedRow(NamedTuple):
    """An open invocation: what it holds, whether it has a slot, and which API key counts that it has or may get one."""

    id: UUID
    held: int
    placed: bool
    counted_by: UUID | None


_BOOKS = Query(
    f"""
select p.id, p.epoch, {truth.SERVER} as server, period_charged(p.id, p.user_id) as charged,
       (select coalesce(sum(g.tokens), 0) from grants g where g.period_id = p.id) as granted,
       q.held, q.active, q.open
  from periods p cross join lateral (
         select coalesce(sum(q.held), 0) as held, count(q.slot) as active, count(*) as open
           from queue q where q.period_id = p.id) q
 where p.id = any(:periods)
""",  # noqa: S608
    BooksRow,
)
_PLACED = """
select id, held, slot is not null as placed, case when key_due_at is null then capped_key end as counted_by from queue
"""
_OPEN = Query(f"{_PLACED} where id = any(:ids)", PlacedRow)
_OPEN_OF = Query(f"{_PLACED} where period_id = :period", PlacedRow)
_CHARGED = text("select coalesce(sum(charged), 0) from invocations where id = any(:ids) and status <> 'open'")


def suspects(gates: Collection[Gate], older_than: float) -> list[Gate]:
    """Those that differ in a figure or in an old hold, whatever is on its way, or whose period is unknown.

    One or two statements for all of them. Raises `db.Unreachable`.
    """
    periods = {gate.key: period_of(gate.key) for gate in gates}
    old = {gate.key: gate.old_holds(older_than) for gate in gates}
    with db.snapshot() as session:
        books = {row.id: row for row in db.fetch(session, _BOOKS, {"periods": list(periods.values())})}
        ids = [UUID(id_) for holds in old.values() for id_ in holds]
        rows = {str(row.id): row for row in db.fetch(session, _OPEN, {"ids": ids})} if ids else {}

    def suspect(gate: Gate) -> bool:
        known = books.get(periods[gate.key])
        if known is None or _off(_said(gate), known) or _unlike(old[gate.key], rows):
            return True
        return bool(gate.counts) and bool(_miscounted(gate))

    limited = allowances.limited([owner[0] for gate in gates if (owner := owner_of(gate.key))])
    return [gate for gate in gates if suspect(gate) or _of_keys(gate.key, older_than, limited)]


def _of_keys(key: str, older_than: float, limited: Collection[UUID] | None = None) -> frozenset[str]:
    """What differs in what is kept of API keys beside that gate. `limited`: of these accounts alone."""
    owner = owner_of(key)
    if owner is None or (limited is not None and owner[0] not in limited):
        return frozenset()
    return allowances.differences(*owner, older_than)


def differences(key: str, older_than: float) -> frozenset[str]:
    """How one gate differs from the rows; what was only on its way is left out as far as the rows tell.

    Raises `db.Unreachable`, `redis.RedisUnreachable`.
    """
    try:
        return _differences(read([key])[0], older_than) | _of_keys(key, older_than)
    except (ValueError, KeyError, IndexError, redis.UnreadableKey):
        return frozenset({UNREADABLE})


def _differences(gate: Gate, older_than: float) -> frozenset[str]:
    with db.snapshot() as session:
        found = db.fetch(session, _BOOKS, {"periods": [period_of(gate.key)]})
        if not found:
            return frozenset({UNKNOWN_PERIOD})
        books = found[0]
        if not gate.whole or not gate.known:
            return _off(_said(gate), books)
        rows = {str(row.id): row for row in db.fetch(session, _OPEN_OF, {"period": books.id})}
        ended = [UUID(id_) for id_ in gate.holds.keys() - rows.keys()]
        unsettled = int(session.execute(_CHARGED, {"ids": ended}).scalar_one()) if ended else 0
    said = _said(gate)
    figures = {
        "epoch": said["epoch"],
        "server": said["server"],
        "granted": said["granted"],
        "charged": said["charged"] + unsettled,
    }
    missing = {f"no hold for {id_}" for id_ in rows.keys() - gate.holds.keys()}
    return _off(figures, books) | _miscounted(gate) | missing | _unlike(gate.old_holds(older_than), rows)


def _said(gate: Gate) -> dict[str, int]:
    """What a gate says of itself; nothing when it has no epoch, because then it admits nothing."""
    if not gate.known:
        return {}
    opened = len(gate.holds) if gate.whole else gate.size - len(gate.figures) - int(gate.figures.get("capped", 0))
    return {**{name: gate.number(name) for name in _FIGURES[1:]}, "open": opened}


def _off(said: Mapping[str, int], books: BooksRow) -> frozenset[str]:
    """By how much each figure is off: the same number at two looks, however much is charged between them."""
    figures = {
        "epoch": books.epoch,
        "server": books.server,
        "granted": int(books.granted),
        "charged": int(books.charged),
        "held": int(books.held),
        "active": books.active,
        "open": books.open,
    }
    off = {name: value - figures[name] for name, value in said.items()}
    return frozenset(f"{name}: {by:+d}" for name, by in off.items() if by)


def _miscounted(gate: Gate) -> frozenset[str]:
    """A gate's own sums beside its own holds, which change together."""
    holds = [StoredHold.parse(hold) for hold in gate.holds.values()]
    counted = {"held": sum(hold.amount for hold in holds), "active": sum(hold.placed for hold in holds)}
    by_key = Counter(hold.counted_by for hold in holds if hold.counted_by)
    off = {f"{name}: {gate.number(name) - by:+d}" for name, by in counted.items() if gate.number(name) != by}
    for key in gate.counts.keys() | by_key.keys():
        if by := int(gate.counts.get(key, 0)) - by_key[key]:
            off.add(f"API key {key}: at once {by:+d}")
    return frozenset(off)


def _unlike(holds: Mapping[str, str], rows: Mapping[str, PlacedRow]) -> frozenset[str]:
    """Holds that have no open row, or one of another amount, or are in a slot and their row is not, or the reverse."""
    return frozenset(f"hold {id_}: {hold}" for id_, hold in holds.items() if not _as_its_row(hold, rows.get(id_)))


def _as_its_row(text: str, row: PlacedRow | None) -> bool:
    hold = StoredHold.parse(text)
    if row is None:
        return False
    counted_by = "" if row.counted_by is None else str(row.counted_by)
    return (hold.amount, hold.placed, hold.counted_by) == (row.held, row.placed, counted_by)
