"""What the rows say: the truth that the gate is made from."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.budgets.model import Balance
from common.kit import db

_BALANCE = text("""
select p.user_id, period_charged(p.id, p.user_id) as charged,
       (select coalesce(sum(g.tokens), 0) from grants g where g.period_id = p.id) as granted,
       (select coalesce(sum(q.held), 0) from queue q where q.period_id = p.id) as held
  from periods p where p.id = :period
""")
_BUMP = text("update periods set epoch = greatest(epoch, :above) + 1 where id = :period returning epoch")


def balance(session: Session, period_id: UUID) -> Balance:
    """One period's books, recomputed from rows; every end that anybody was shown is in it."""
    row = session.execute(_BALANCE, {"period": period_id}).one()
    return Balance(int(row.granted), int(row.charged), int(row.held))


def bump(session: Session, period_id: UUID, *, above: int = 0) -> int:
    """Raise the period's epoch inside your transaction: no hold taken before can commit a row after."""
    epoch: int = session.execute(_BUMP, {"period": period_id, "above": above}).scalar_one()
    return epoch


def available(self) -> int:
    return self.granted - self.charged - self.held


# -- names of keys ---------------------------------------------------------------------------------------------


def budget_key(user_id: UUID, period_id: UUID) -> str:
    return f"budget:{{{user_id}}}:{period_id}"


def _rate_key(user_id: UUID) -> str:
    return f"rate:{{{user_id}}}"


def _idempotency_key(user_id: UUID, key: str | None) -> str:
    return "-" if key is None else f"idem:{{{user_id}}}:{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def waiters_key(user_id: UUID, invocation_id: UUID) -> str:
    """Set while somebody waits for this invocation; `settle` publishes only then."""
    return f"wait:{{{user_id}}}:{invocation_id}"


# -- hold, release, settle ---------------------------------------------------------------------------------------


def hold(account: Account, invocation_id: UUID, amount: int, *, key: str | None = None) -> Hold | SameKey:
    """Take a hold of `amount` tokens, or say why not; idempotent by invocation id.

    Raises:
        RateLimited: the plan's submits per minute are used up.
        BudgetExhausted: checked against PostgreSQL, with `required`, `available`, `shortfall`.
        DependencyUnavailable: the gate cannot be verified; nothing is guessed.
    """
    for _ in range(TRIES):
        answer = _ask_for_hold(account, invocation_id, amount, key)
        match answer[0]:
            case "held":
                return Hold(answer[1], answer[2] or None, _rate(account, answer[3], answer[4]))
            case "same":
                return SameKey(UUID(answer[1]))
            case "limited":
                raise RateLimited(retry_after=answer[3])
            case "exhausted":
                if not _stale(account, amount):
                    raise _exhausted(amount, answer[1])
                rebuild(account.user_id, account.period_id)
            case _:
                rebuild(account.user_id, account.period_id, joining=True)
    raise DependencyUnavailable("The budget cannot be verified at the moment; nothing was done.", retry_after=1)


def _ask_for_hold(account: Account, invocation_id: UUID, amount: int, key: str | None) -> list[Any]:
    keys = [
        budget_key(account.user_id, account.period_id),
        _rate_key(account.user_id),
        _idempotency_key(account.user_id, key),
    ]
    limits = [_number(account.max_concurrency), _number(account.rate_limit_per_minute)]
    answer: list[Any] = redis.run("hold", keys, [str(invocation_id), amount, *limits])
    return answer


def _number(limit: int | None) -> int:
    return UNLIMITED if limit is None else limit


def _rate(account: Account, remaining: int, reset: int) -> Rate | None:
    limit = account.rate_limit_per_minute
    return None if limit is None else Rate(limit, remaining, reset)


def _exhausted(required: int, available: int) -> BudgetExhausted:
    return BudgetExhausted(required=required, available=available, shortfall=required - available)


def rate_limited(account: Account) -> int:
    """Seconds until the account may submit again; 0 when it may now. Reads only."""
    if account.rate_limit_per_minute is None:
        return 0
    with redis.reachable():
        window = str(redis.client().get(_rate_key(account.user_id)) or "0 0")
    start, count = (int(part) for part in window.split())
    left = start + 60 - int(time.time())
    return max(1, min(60, left)) if count >= account.rate_limit_per_minute and left > 0 else 0


def release(account: Account, invocation_id: UUID, *, key: str | None = None) -> None:
    """Undo a hold whose row was certainly not committed. Never call it on an unknown.

    Best effort: what cannot be released now is an orphan, found by `orphans` and freed by a rebuild.
    """
    keys = [
        budget_key(account.user_id, account.period_id),
        _rate_key(account.user_id),
        _idempotency_key(account.user_id, key),
    ]
    try:
        redis.run("release", keys, [str(invocation_id)])
    except redis.Unreachable:
        logger.warning("hold not released: redis is away", invocation_id=str(invocation_id))


@dataclass(frozen=True, slots=True)
class Settled:
    """What the gate held right before and after a charge: enough to see a threshold being reached."""

    granted: int
    before: int
    after: int

    def reached(self, percent: int) -> bool:
        """Whether `percent` of what was granted are used up, by this charge or before."""
        return self.granted > 0 and self.after * 100 >= self.granted * percent


@dataclass(frozen=True, slots=True)
class Move:
    """A row went into a place, or out of one (None). Rows number their moves: the gate believes the highest."""

    invocation_id: UUID
    number: int
    place: int | None

    def words(self) -> tuple[str, int, int]:
        return str(self.invocation_id), self.number, self.place or 0


def settle(user_id: UUID, period_id: UUID, last: Move, charge: int, *moves: Move, message: str = "") -> Settled | None:
    """After an end has been committed: charge the gate, free the hold, tell of `moves`, wake waiters.

    `last`: the move by which the ended row came to where it was. Idempotent by invocation id. Best effort: the rows
    are the truth, and a gate that missed this is put right by `free_orphans`. None: the gate knew already, or does not
    know this account.
    """
    keys = [budget_key(user_id, period_id), waiters_key(user_id, last.invocation_id)]
    id_, number, had = last.words()
    answer = _tell(user_id, period_id, keys, [message, id_, charge, number, had], moves)
    return Settled(*(int(part) for part in answer)) if answer else None


def moved(user_id: UUID, period_id: UUID, *moves: Move) -> None:
    """After rows went into places or out of them. Idempotent, in any order, best effort, as `settle`."""
    _tell(user_id, period_id, [budget_key(user_id, period_id), "-"], ["", "", 0, 0, 0], moves)


def _tell(
    user_id: UUID, period_id: UUID, keys: list[str], end: list[str | int], moves: Sequence[Move]
) -> Sequence[str]:
    told = [word for move in moves for word in move.words()]
    answer: list[str]
    try:
        missed, *answer = redis.run("settle", keys, [*end, *told])
    except redis.Unreachable:
        logger.warning("settlement left to the sweep", period_id=str(period_id))
        return ()
    if missed:
        tell(user_id, period_id)
    return answer


def place(account: Account, parked: Move) -> tuple[int, int] | None:
    """Ask for a place for a parked row: `(place, epoch)`, or None when none is free. Say what came of it (`moved`).

    `parked`: the move by which it was parked, as you have read it.

    Raises:
        DependencyUnavailable: the gate cannot be verified.
    """
    key = budget_key(account.user_id, account.period_id)
    for _ in range(TRIES):
        answer = redis.run("place", [key], [*parked.words()[:2], _number(account.max_concurrency)])
        if answer[0] != "unknown":
            return (answer[0], answer[1]) if answer[0] else None
        rebuild(account.user_id, account.period_id, joining=True)
    raise DependencyUnavailable


def being_made(user_id: UUID, key: str | None) -> bool:
    """Whether somebody holds this Idempotency-Key right now."""
    with redis.reachable():
        return bool(redis.client().exists(_idempotency_key(user_id, key)))


# -- the truth ------------------------------------------------------------------------------------------------

_BALANCE = text("""
select p.user_id, period_charged(p.id, p.user_id) as charged,
       (select coalesce(sum(g.tokens), 0) from grants g where g.period_id = p.id) as granted,
       (select coalesce(sum(q.held), 0) from queue q where q.period_id = p.id) as held
  from periods p where p.id = :period
""")
_HOLDS = text("select id, held, coalesce(place, 0), moves from queue where period_id = :period")
_BUMP = text("update periods set epoch = greatest(epoch, :above) + 1 where id = :period returning epoch")


def balance(session: Session, period_id: UUID) -> Balance:
    """One period's books, recomputed from rows; every end that anybody was shown is in it."""
    row = session.execute(_BALANCE, {"period": period_id}).one()
    return Balance(int(row.granted), int(row.charged), int(row.held))


def bump(session: Session, period_id: UUID, *, above: int = 0) -> int:
    """Raise the period's epoch inside your transaction: no hold taken before can commit a row after."""
    epoch: int = session.execute(_BUMP, {"period": period_id, "above": above}).scalar_one()
    return epoch


def tell(user_id: UUID, period_id: UUID) -> None:
    """After a change of the rows has been committed: let the gate know. Best effort: `free_orphans` does otherwise."""
    try:
        rebuild(user_id, period_id)
    except (redis.Unreachable, db.Unreachable, DependencyUnavailable):
        logger.warning("budget gate not rebuilt", user_id=str(user_id))


def catch_up(user_id: UUID, period_id: UUID, epoch: int) -> None:
    """Rebuild unless the gate has `epoch` already (somebody else may just have done it)."""
    with redis.reachable():
        installed = redis.client().hget(budget_key(user_id, period_id), "epoch")
    if installed is None or int(installed) != epoch:
        rebuild(user_id, period_id, joining=True)


def rebuild(user_id: UUID, period_id: UUID, *, joining: bool = False) -> None:
    """Make the gate say what the rows say now. One at a time per account.

    `joining`: any rebuild will do, also one that is under way; it may have read the rows before you called.

    Raises:
        DependencyUnavailable: it could not be done in time; nothing is admitted meanwhile.
    """
    key, lock = budget_key(user_id, period_id), f"rebuild:{{{user_id}}}:{period_id}"
    give_up = time.monotonic() + REBUILD_WAIT_SECONDS
    while time.monotonic() < give_up:
        with redis.reachable():
            mine = redis.client().set(lock, "1", nx=True, ex=REBUILD_LOCK_SECONDS)
        if not mine:
            time.sleep(0.01)
            if joining and _done_by_another(key, lock):
                return
            continue
        try:
            if _rebuild_once(key, period_id):
                return
        finally:
            with redis.reachable():
                redis.client().delete(lock)
    raise DependencyUnavailable("The budget is being rebuilt; nothing was done.", retry_after=1)


def _done_by_another(key: str, lock: str) -> bool:
    with redis.reachable():
        return not redis.client().exists(lock) and bool(redis.client().hexists(key, "epoch"))


def _rebuild_once(key: str, period_id: UUID) -> bool:
    with db.transaction() as session:
        epoch = bump(session, period_id, above=_highest(key))
    if not redis.run("rebuild_begin", [key], [epoch]):
        return True
    with db.snapshot() as session:
        truth = balance(session, period_id)
        holds = session.execute(_HOLDS, {"period": period_id}).all()
    args: list[str | int] = [epoch, truth.granted, truth.charged, CACHE_SECONDS]
    for invocation_id, held, taken_place, moves in holds:
        args += [str(invocation_id), held, taken_place, moves]
    installed = bool(redis.run("install", [key], args))
    logger.info("budget gate rebuilt", period_id=str(period_id), epoch=epoch, holds=len(holds), installed=installed)
    return installed


def _highest(key: str) -> int:
    """The highest epoch that the gate has heard of: above the rows' own, if these were restored from a backup."""
    with redis.reachable():
        heard = redis.client().hmget(key, ["epoch", "rebuilding"])
    return max(int(epoch or 0) for epoch in heard)


def _stale(account: Account, amount: int) -> bool:
    """Whether PostgreSQL would admit what the gate refused (a leaked hold, a fresh grant). Asked once a second."""
    with redis.reachable():
        checked = f"checked:{{{account.user_id}}}:{account.period_id}"
        if not redis.client().set(checked, "1", nx=True, ex=1):
            return False
    with db.snapshot() as session:
        available = balance(session, account.period_id).available
    return available >= amount


# -- watching the gate -----------------------------------------------------------------------------------------


def gate(user_id: UUID, period_id: UUID) -> Mapping[str, str]:
    """The gate's hash as it stands (for verification); empty when it is not there."""
    with redis.reachable():
        return redis.mapping(redis.client().hgetall(budget_key(user_id, period_id)))


_ROWS = text("select id, coalesce(place, 0) as place from queue where period_id = :period and id = any(:ids)")


def spent(percents: Sequence[int], limit: int = 10_000) -> Iterator[tuple[UUID, UUID, int]]:
    """Accounts whose gate says that so many percent are used up: user, period, percent. The rows may know better."""
    for key, fields in _next_gates("walk:spent", limit):
        if "epoch" in fields:
            granted, charged = int(fields["granted"]), int(fields["charged"])
            reached = Settled(granted, charged, charged)
            yield from ((*_owner(key), percent) for percent in percents if reached.reached(percent))


def free_orphans(older_than: float = 30.0, limit: int = 10_000) -> int:
    """Rebuild every gate with an old hold that is not as its row says, or that has miscounted. Returns how many.

    Such a hold has no row (a web process died between hold and commit, or a settlement was lost), or it is in a place
    that its row is not in. A hold is never simply expired: a frozen process might still commit its row. The rebuild's
    new epoch makes that impossible first. Looks at about `limit` gates, and goes on from there next time.
    """
    suspects: dict[str, dict[str, str]] = {}
    for key, fields in _next_gates("walk:orphans", limit):
        wrong = _unlike_rows(key, _old_holds(fields, older_than)) | _miscounted(fields)
        if wrong:
            suspects[key] = wrong
    if suspects:
        time.sleep(LOOK_AGAIN_SECONDS)  # what was only on its way has arrived then
    return sum(_put_right(key, wrong, older_than) for key, wrong in suspects.items())


def _next_gates(walk: str, limit: int) -> Iterator[tuple[str, Mapping[str, str]]]:
    """About `limit` gates from where the last walk ended; Redis remembers where that was."""
    with redis.reachable():
        cursor, seen = int(redis.client().get(walk) or 0), 0
    while seen < limit:
        with redis.reachable():
            cursor, keys = redis.client().scan(cursor, match="budget:*", count=min(limit, 500))
            pipeline = redis.client().pipeline(transaction=False)
            for key in keys:
                pipeline.hgetall(key)
            found = pipeline.execute()
        yield from zip(keys, found, strict=True)
        seen += len(keys)
        if cursor == 0:
            break
    with redis.reachable():
        redis.client().set(walk, cursor)


def _old_holds(fields: Mapping[str, str], older_than: float) -> dict[str, str]:
    """Holds by invocation id, as the gate has them."""
    horizon = time.time() - older_than
    return {
        name[2:]: value
        for name, value in fields.items()
        if name.startswith("h:") and float(value.split(",")[2]) < horizon
    }


def _unlike_rows(key: str, holds: Mapping[str, str]) -> dict[str, str]:
    """Those of these holds that have no row, or a row in a place when they are in none, or the other way round."""
    if not holds:
        return {}
    with db.snapshot() as session:
        rows = session.execute(_ROWS, {"period": _owner(key)[1], "ids": [UUID(id) for id in holds]})
        placed = {str(row.id): row.place != 0 for row in rows}
    return {id: value for id, value in holds.items() if placed.get(id) != (value.split(",")[1] != "0")}


def _miscounted(fields: Mapping[str, str]) -> dict[str, str]:
    """The count of places, when it is not what the holds say."""
    placed = sum(name.startswith("h:") and value.split(",")[1] != "0" for name, value in fields.items())
    return {"active": fields["active"]} if "active" in fields and int(fields["active"]) != placed else {}


def _put_right(key: str, wrong: Mapping[str, str], older_than: float) -> bool:
    """Rebuild if the same holds are still wrong in the same way, or the count of places is."""
    user_id, period_id = _owner(key)
    fields = gate(user_id, period_id)
    still = dict(_old_holds(fields, older_than).items() & wrong.items())
    if not _unlike_rows(key, still) and _miscounted(fields).items().isdisjoint(wrong.items()):
        return False
    try:
        rebuild(user_id, period_id)
    except DependencyUnavailable:
        logger.warning("budget gate not put right", period_id=str(period_id))
        return False
    return True


def _owner(key: str) -> tuple[UUID, UUID]:
    user, _, period = key.removeprefix("budget:{").partition("}:")
    return UUID(user), UUID(period)


def available(period_id: UUID) -> int:
    """What is left in a period, from rows."""
    with db.snapshot() as session:
        return balance(session, period_id).available
