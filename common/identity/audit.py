"""The audit log: who changed what, when and from where. Written in the transaction of the change itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from common.kit import db, jsonb
from common.kit.paging import Page, Window
from common.models.audit import AuditEntry


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change. `kind`: session, api_key, link (mailed), operator (command line) or platform."""

    kind: str
    id: UUID | None = None
    request_id: str | None = None
    ip: str | None = None


OPERATOR = Actor("operator")
PLATFORM = Actor("platform")


def record(
    session: Session,
    actor: Actor,
    action: str,
    target_type: str,
    target_id: object,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Add an entry in the transaction of the change: `record(session, actor, "user.update", "user", id, after=…)`.

    `before` and `after` use the API's field names and never hold secrets.
    """
    values = {"actor_id": actor.id, "actor_kind": actor.kind, "request_id": actor.request_id, "ip": actor.ip}
    values |= {"action": action, "target_type": target_type, "target_id": str(target_id)}
    values_shown = {"before": before, "after": after}
    as_sent = {name: value for name, value in values_shown.items() if jsonb.as_sent(value) is not None}
    session.execute(insert(AuditEntry).values(**values, **values_shown, as_sent=as_sent or None))


def entries(
    window: Window,
    *,
    actor: UUID | None = None,
    action: str | None = None,
    target_type: str | None = None,
    target: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Page[AuditEntry]:
    """Entries that match all given filters, newest first; `since` is inclusive, `until` exclusive."""
    given = {
        AuditEntry.actor_id: actor,
        AuditEntry.action: action,
        AuditEntry.target_type: target_type,
        AuditEntry.target_id: target,
    }
    query = select(AuditEntry).where(*(column == value for column, value in given.items() if value is not None))
    if since is not None:
        query = query.where(AuditEntry.at >= since)
    if until is not None:
        query = query.where(AuditEntry.at < until)
    if window.after:
        query = query.where(AuditEntry.id < window.after[0])
    query = query.order_by(AuditEntry.id.desc()).limit(window.limit + 1)
    rows = db.read_anywhere(lambda session: session.scalars(query).all())
    return Page.cut(rows, window, lambda entry: (entry.id,))
