# ruff: noqa: S608  (the statement is put together from constants)
"""Store an accepted invocation exactly once, although the answer of a commit may be lost.

While the outcome of an INSERT is unknown, nothing that follows is a proof that its row is not there: a repetition may
find that the epoch has moved, the tool was edited or access has ended, *after* the first one was committed; and the
first one may still be waiting for a lock, with a snapshot from before. So an unknown outcome is decided in two steps:
raise the period's epoch, after which the first INSERT cannot commit any more (it holds a share lock on the period or
will look at its epoch again); then look for the row.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, StatementError

from common import budgets
from common.budgets import SERVER
from common.invocations import fragments
from common.kit import clock, db
from common.kit.query import Query
from common.queueing import messages


class StoredRow(NamedTuple):
    """An accepted invocation as it was written. `due_later`: its `not_before`, if that is yet to come.

    `deliveries`: how many webhook deliveries are due.
    """

    id: UUID
    created_at: datetime
    expires_at: datetime
    due_later: datetime | None
    deliveries: int


#: The row, its key, its entry in the queue and its event, under the epoch and by the run of PostgreSQL that the hold is
#: for, with the versions that the tools have (the one that runs, and the one asked for) or that a quote pins until it
#: expires, and, if it counts against an API key's allowance, in the window in which its hold was counted and while the
#: key is alive: or nothing.
SUBMIT: Final = Query(
    f"""
with p as materialized (
  select id from periods
   where id = :period_id and epoch = :epoch and closed_at is null and access_ended_at is null and ends_at > now()
     and {SERVER} = :server
     and (cast(:pinned_until as timestamptz) is null or now() < cast(:pinned_until as timestamptz))
     and exists (select 1 from tools t where t.id = :tool_id and t.is_active and t.archived_at is null
                    and (t.version = :tool_version or cast(:pinned_until as timestamptz) is not null))
     and now() >= coalesce(cast(:valid_from as timestamptz), '-infinity')
     and now() < coalesce(cast(:valid_until as timestamptz), 'infinity')
     and (cast(:api_keys as uuid[]) is null
          or exists (select 1 from api_keys a where a.id = cast(:api_key_id as uuid) and a.revoked_at is null
                        and (a.expires_at is null or a.expires_at > now())))
     and (cast(:requested_tool_id as uuid) is null
          or exists (select 1 from tools t where t.id = cast(:requested_tool_id as uuid) and t.is_active
                        and t.archived_at is null and (t.version = cast(:requested_version as integer)
                                                       or cast(:pinned_until as timestamptz) is not null)))
     for share),
k as (
  insert into idempotency_keys (user_id, key, request_hash, invocation_id)
  select :user_id, cast(:key as text), :request_hash, :id from p where cast(:key as text) is not null),
f as (
  insert into invocations (id, user_id, period_id, tool_id, tool_version_id, api_key_id, input, input_bytes,
                           input_as_sent, metadata, metadata_as_sent, webhook_url, webhook_events, held, request_id,
                           traceparent, end_user, rerun_of, requested_tool_id, api_key_root_id, not_before, priority,
                           quote_id, stream, expires_at)
  select :id, :user_id, p.id, :tool_id, :tool_version_id, cast(:api_key_id as uuid), cast(:input as jsonb),
         octet_length(cast(:input as text)), cast(:input_as_sent as json), cast(:metadata as jsonb),
         cast(:metadata_as_sent as json), cast(:webhook_url as text), cast(:webhook_events as text[]), :held,
         :request_id, cast(:traceparent as text), cast(:end_user as text), cast(:rerun_of as uuid),
         cast(:requested_tool_id as uuid), cast(:api_key_root_id as uuid), cast(:not_before as timestamptz), :priority,
         cast(:quote_id as uuid), :stream,
         greatest(now(), cast(:not_before as timestamptz)) + make_interval(secs => :expires_in)
    from p
  returning id, user_id, expires_at, created_at, webhook_url, webhook_events, array['invocation.queued'] as filters,
            cast(:event_id as uuid) as event_id),
q as (
  insert into queue (id, user_id, period_id, tool_id, tool_version_id, held, timeout_seconds, slot, start_tag,
                     api_keys, capped_key, priority, due_at, key_due_at, expires_at)
  select f.id, f.user_id, :period_id, :tool_id, :tool_version_id, :held, :timeout_seconds, cast(:slot as integer),
         (select last_value from vt) + cast(:slot as integer), cast(:api_keys as uuid[]),
         cast(:capped_key as uuid), :priority,
         case when :waits_for_key then 'infinity' else greatest(now(), cast(:not_before as timestamptz)) end,
         case when :waits_for_key then greatest(now(), cast(:not_before as timestamptz)) end, f.expires_at
    from f),
ev as (
  insert into events (id, user_id, type, invocation_id)
  select cast(:event_id as uuid), f.user_id, 'invocation.queued', f.id from f),
de as ({fragments.DELIVERIES})
select f.id, f.created_at, f.expires_at,
       case when cast(:not_before as timestamptz) > now() then cast(:not_before as timestamptz) end as due_later,
       (select count(*) from de) as deliveries
  from f
""",
    StoredRow,
)
STORED: Final = Query(
    """
select id, created_at, expires_at, case when not_before > now() then not_before end as due_later, 1 as deliveries
  from invocations where id = :id
""",
    StoredRow,
)
#: After it, nothing that was to commit under that epoch can: it commits before this, or not at all.
MOVE_EPOCH: Final = text("update periods set epoch = epoch + 1 where id = :period_id and epoch = :epoch")

#: How long an unknown outcome is asked after before the client is told that it is unknown.
UNKNOWN_SECONDS = 6.0
#: Between two tries to ask.
PAUSE_SECONDS = 0.1


def store(row: dict[str, object], account: budgets.Account, key: str | None) -> StoredRow | None:
    """Write the row under its hold's epoch; returns its `id`, `created_at` and `expires_at`.

    None: it is not written and never will be, because the epoch has moved, the period or the access has ended, the
    tool is not as it was, or the Idempotency-Key belongs to another invocation. The hold is released then.

    Raises:
        db.CommitUnknown: the outcome could not be determined within `UNKNOWN_SECONDS`. The hold stays.
        db.Unreachable: it is certainly not written; the hold is released.
        StatementError: the server or the driver refused it; the hold is released.
    """
    invocation_id = cast("UUID", row["id"])
    try:
        written = _write(row)
    except db.CommitUnknown:
        written = _find_out(row, account)
    except (db.Unreachable, StatementError) as error:
        budgets.release(account, invocation_id, key=key)
        if _key_taken(error):
            return None
        raise
    if written is None:
        budgets.release(account, invocation_id, key=key)
    return written


def _write(row: dict[str, object]) -> StoredRow | None:
    written = db.execute(SUBMIT, row)
    return _notified(written[0]) if written else None


def _find_out(row: dict[str, object], account: budgets.Account) -> StoredRow | None:
    """Ask until the database answers whether the row was written; if it was not, it cannot be any more."""
    give_up = clock.monotonic() + UNKNOWN_SECONDS
    while True:
        clock.sleep(PAUSE_SECONDS)
        try:
            return _fenced_look(row, account)
        except db.Unreachable as error:
            if clock.monotonic() > give_up:
                raise db.CommitUnknown("whether the invocation was stored is unknown") from error


def _fenced_look(row: dict[str, object], account: budgets.Account) -> StoredRow | None:
    """Whether the row is there, once it cannot come any more."""
    if written := db.execute(STORED, {"id": row["id"]}):
        return _notified(written[0])
    moved = db.rowcount(MOVE_EPOCH, {"period_id": row["period_id"], "epoch": row["epoch"]})
    written = db.execute(STORED, {"id": row["id"]})
    if moved:
        budgets.tell(account.user_id, account.period_id)
    return _notified(written[0]) if written else None


def _notified(row: StoredRow) -> StoredRow:
    """The row, once deliverers are notified. (Where the INSERT's answer was lost, they are notified in any case.)"""
    if row.deliveries:
        messages.notify(messages.DELIVER)
    return row


def _key_taken(error: Exception) -> bool:
    return isinstance(error, IntegrityError) and db.violated(error) == "pk_idempotency_keys"
