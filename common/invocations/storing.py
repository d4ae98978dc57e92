"""Write an accepted invocation down, exactly once, although the answer of a commit may be lost.

While the outcome of an INSERT is unknown, nothing that follows is a proof that its row is not there: a repetition may
find that the epoch has moved, the tool was edited or access has ended, *after* the first one was committed; and the
first one may still be waiting for a lock, with a snapshot from before. So an unknown outcome is decided in two steps:
raise the period's epoch, after which the first INSERT cannot commit any more (it holds a share lock on the period or
will look at its epoch again); then look for the row.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError, StatementError

from common import budgets
from common.invocations import sql
from common.kit import clock, db
from common.queueing import messages

#: How long an unknown outcome is asked after before the client is told that it is unknown.
UNKNOWN_SECONDS = 6.0
#: Between two tries to ask.
PAUSE_SECONDS = 0.1


def store(row: dict[str, Any], account: budgets.Account, key: str | None) -> Row[Any] | None:
    """Write the row under its hold's epoch; returns its `id`, `created_at` and `expires_at`.

    None: it is not written and never will be, because the epoch has moved, the period or the access has ended, the
    tool is not as it was, or the Idempotency-Key belongs to another invocation. The hold is released then.

    Raises:
        db.CommitUnknown: nobody knows, for `UNKNOWN_SECONDS`. The hold stands.
        db.Unreachable: it is certainly not written; the hold is released.
        StatementError: the server or the driver refused it; the hold is released.
    """
    try:
        written = _write(row)
    except db.CommitUnknown:
        written = _find_out(row, account)
    except (db.Unreachable, StatementError) as error:
        budgets.release(account, row["id"], key=key)
        if _key_taken(error):
            return None
        raise
    if written is None:
        budgets.release(account, row["id"], key=key)
    return written


def _write(row: dict[str, Any]) -> Row[Any] | None:
    written = db.execute(sql.SUBMIT, row)
    if not written:
        return None
    if written[0].deliveries:
        messages.notify(messages.DELIVER)
    return written[0]


def _find_out(row: dict[str, Any], account: budgets.Account) -> Row[Any] | None:
    """Ask until somebody answers whether the row was written; if it was not, it cannot be any more."""
    give_up = clock.monotonic() + UNKNOWN_SECONDS
    while True:
        clock.sleep(PAUSE_SECONDS)
        try:
            return _fenced_look(row, account)
        except db.Unreachable as error:
            if clock.monotonic() > give_up:
                raise db.CommitUnknown("whether the invocation was stored is unknown") from error


def _fenced_look(row: dict[str, Any], account: budgets.Account) -> Row[Any] | None:
    """Whether the row is there, once it cannot come any more."""
    if written := db.execute(sql.EXISTS, {"id": row["id"]}):
        return _found(written[0])
    moved = db.rowcount(sql.MOVE_EPOCH, {"period_id": row["period_id"], "epoch": row["epoch"]})
    written = db.execute(sql.EXISTS, {"id": row["id"]})
    if moved:
        budgets.tell(account.user_id, account.period_id)
    return _found(written[0]) if written else None


def _found(row: Row[Any]) -> Row[Any]:
    """The answer of the INSERT was lost, and with it whether anybody is to be notified."""
    messages.notify(messages.DELIVER)
    return row


def _key_taken(error: Exception) -> bool:
    return isinstance(error, IntegrityError) and db.violated(error) == "pk_idempotency_keys"
