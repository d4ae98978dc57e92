# ruff: noqa: S608  (the statements are put together from constants)
"""Slots: waiting rows get the ones that are free; rows of paused tools lose theirs; start tags are kept current."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from common import budgets
from common.budgets import SERVER
from common.errors import DependencyUnavailable
from common.invocations import fragments
from common.kit import apart, db, failpoints, log, memory
from common.kit.query import Query

logger = log.get(__name__)

BATCH = 500
#: Seconds that a waiting row is left to a completing neighbour before the sweep gives it a slot.
BEHIND = 1.0


class WaitingAccount(NamedTuple):
    """An account with waiting rows, and the first of them that is due (None: none is)."""

    period_id: UUID
    user_id: UUID
    max_concurrency: int | None
    rate_limit_per_minute: int | None
    id: UUID | None
    moves: int


class WaitingRow(NamedTuple):
    """A row in the queue that is due and has no slot. `moves`: how often it was requeued."""

    id: UUID
    moves: int


def _due(period: str, limit: str) -> str:
    due = "now() - make_interval(secs => :behind)"
    return fragments.waiting(period=period, columns="q.id, q.moves", due=due, limit=limit)


#: Account by account (a loose scan of the index on period and due time), so that the backlog of one account does not
#: hide the others.
WAITING_ACCOUNTS: Final = Query(
    f"""
with recursive account as (
  (select q.period_id from queue q where q.slot is null and q.period_id > :after order by q.period_id limit 1)
  union all
  select (select q.period_id from queue q where q.slot is null and q.period_id > a.period_id
           order by q.period_id limit 1)
    from account a where a.period_id is not null),
few as (select period_id from account where period_id is not null limit :limit)
select a.period_id, p.user_id, pl.max_concurrency, pl.rate_limit_per_minute, q.id, q.moves
  from few a join periods p on p.id = a.period_id join plans pl on pl.id = p.plan_id
  left join lateral ({_due("a.period_id", "1")}) q on true
 order by a.period_id
""",
    WaitingAccount,
)
WAITING_ROWS: Final = Query(_due(":period_id", ":limit"), WaitingRow)


class _Placed(NamedTuple):
    moves: int


#: For the row as it was when the gate was asked (`moves`): one that has had a slot since gave back what was counted.
PLACE: Final = Query(
    f"""
with p as materialized (
  select id from periods where id = :period_id and epoch = :epoch and {SERVER} = :server for share)
update queue q set slot = :slot, start_tag = (select last_value from vt) + :slot, moves = q.moves + 1,
       {fragments.ADMITTED}
  from p where q.id = :id and q.moves = :moves and q.slot is null and q.token is null
returning q.moves
""",
    _Placed,
)
#: The same for one whose API key has got it among those that it may have at once, while the account has no free slot.
ADMIT: Final = Query(
    f"""
with p as materialized (
  select id from periods where id = :period_id and epoch = :epoch and {SERVER} = :server for share)
update queue q set moves = q.moves + 1, {fragments.ADMITTED}
  from p where q.id = :id and q.moves = :moves and q.slot is null and q.key_due_at is not null
returning q.moves
""",
    _Placed,
)


class PeriodState(NamedTuple):
    """What an open period's gate must agree with."""

    epoch: int
    server: int
    open: bool


PERIOD_STATE: Final = Query(
    f"""
select epoch, {SERVER} as server, closed_at is null and access_ended_at is null and ends_at > now() as open
  from periods where id = :id
""",
    PeriodState,
)


class UnplacedRow(NamedTuple):
    """A row whose slot was taken away."""

    id: UUID
    user_id: UUID
    period_id: UUID
    moves: int


UNPLACE_PAUSED: Final = Query(
    f"""
with n as (
  select id from queue where token is null and slot is not null and tool_id = any(cast(:paused as uuid[]))
   order by start_tag limit :limit for update skip locked)
update queue q set slot = null, start_tag = null, {fragments.waits_again("now() + interval '1 second'")},
       moves = q.moves + 1
  from n where q.id = n.id
returning q.id, q.user_id, q.period_id, q.moves
""",
    UnplacedRow,
)
LIFT: Final = text(f"""
with n as (
  select id from queue
   where token is null and slot is not null and start_tag < (select last_value from vt) - {fragments.SLACK}
   order by start_tag limit :limit for update skip locked)
update queue q set start_tag = (select last_value from vt) + 1 from n where q.id = n.id
""")


class _Round:
    """Where this process's walk over the accounts with waiting rows goes on."""

    after = UUID(int=0)


_round = memory.Part(_Round)


def place_waiting(paused: Sequence[UUID]) -> int:
    """Give due waiting rows the free slots (a completion that found no successor may have missed them)."""
    where = {"behind": BEHIND, "paused": list(paused), "limit": BATCH}
    accounts = db.execute(WAITING_ACCOUNTS, {**where, "after": _round().after})
    _round().after = accounts[-1].period_id if len(accounts) == BATCH else UUID(int=0)
    in_time = apart.InTime("place", accounts)
    placed = apart.total("place", in_time, lambda account: _place_all(account, where), lambda each: each.period_id)
    if in_time.last is not None:
        _round().after = in_time.last.period_id
    return placed


def _place_all(waiting: WaitingAccount, where: dict[str, object]) -> int:
    """Place an account's first row that is due, and then its others while it has free slots."""
    if waiting.id is None:
        return 0
    limits = waiting.max_concurrency, waiting.rate_limit_per_minute
    account = budgets.Account(waiting.user_id, waiting.period_id, *limits)
    try:
        first = WaitingRow(waiting.id, waiting.moves)
        return 1 + _place_more(account, where) if place(account, first) else 0
    except DependencyUnavailable:
        logger.warning("waiting rows not placed", period_id=str(account.period_id))
        return 0


def _place_more(account: budgets.Account, where: dict[str, object]) -> int:
    placed = 0
    for row in db.execute(WAITING_ROWS, {**where, "period_id": account.period_id}):
        if not place(account, row):
            break
        placed += 1
    return placed


def place(account: budgets.Account, row: WaitingRow, *, for_key: bool = False) -> bool:
    """Give one row one slot. `for_key`: it waits for its API key, and is content to be admitted by that.

    If a completing neighbour was quicker, its own message to the gate settles what was counted here; if the epoch has
    moved on, a rebuild does.
    """
    failpoints.at("place.before_slot")
    free = budgets.reserve_slot(account, budgets.Move(row.id, row.moves, None))
    failpoints.at("place.after_slot")
    if free is None:
        return False
    number, epoch, server = free
    slot, admitted = (None, True) if number == budgets.ADMITTED else (number, False)
    if admitted and not for_key:
        return False
    where = {"period_id": account.period_id, "epoch": epoch, "server": server, **row._asdict()}
    if placed := db.execute(ADMIT, where) if admitted else db.execute(PLACE, {**where, "slot": slot}):
        moved = budgets.Move(row.id, placed[0].moves, slot, admitted=admitted)
        budgets.moved(account.user_id, account.period_id, moved)
        return True
    catch_up(account, epoch, server)
    return False


def catch_up(account: budgets.Account, epoch: int, server: int, *, only_open: bool = False) -> None:
    """A row was refused under this epoch: rebuild the gate if the period has another now, or PostgreSQL is another.

    `only_open`: not if the period is over.
    """
    for state in db.execute(PERIOD_STATE, {"id": account.period_id}):
        if (state.epoch, state.server) != (epoch, server) and (state.open or not only_open):
            budgets.catch_up(account.user_id, account.period_id, state.epoch, state.server)


def unplace_paused(paused: Sequence[UUID]) -> int:
    """Take the slots from rows whose tool is paused, so that other rows of their account can run. Returns how many."""
    if not paused:
        return 0
    rows = db.execute(UNPLACE_PAUSED, {"paused": list(paused), "limit": BATCH})
    # (Gates for which there is no time are told nothing: `free_orphans` finds what differs.)
    return apart.in_turn("park", rows, _unplaced, lambda row: row.id)


def _unplaced(row: UnplacedRow) -> int:
    budgets.moved(row.user_id, row.period_id, budgets.Move(row.id, row.moves, None))
    return 1


def raise_start_tags() -> int:
    """Raise the start tags that the virtual clock has left behind, so that claims need not look there."""
    return db.rowcount(LIFT, {"limit": BATCH})
