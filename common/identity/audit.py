"""Who changed what, when, from where. Written in the transaction of the change itself, so neither exists alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from common.kit import db, jsonb
from common.kit.paging import Page, Window
from common.models.accounts import AuditEntry


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does it: `kind` is session, api_key, link (a mailed one), operator (the command line) or platform."""

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
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Join the transaction of a change: `record(session, actor, "user.disable", "user", id, before=…, after=…)`.

    Name fields of the wire in `before` and `after`, never a secret.
    """
    values = {"actor_id": actor.id, "actor_kind": actor.kind, "request_id": actor.request_id, "ip": actor.ip}
    values |= {"action": action, "target_type": target_type, "target_id": str(target_id)}
    told = {"before": before, "after": after}
    as_sent = {name: value for name, value in told.items() if jsonb.as_sent(value) is not None}
    session.execute(insert(AuditEntry).values(**values, **told, as_sent=as_sent or None))


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
    """Newest first: what somebody did, what was done to something; `since` is inclusive, `until` exclusive."""
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
    with db.snapshot() as session:
        rows = session.scalars(query.order_by(AuditEntry.id.desc()).limit(window.limit + 1)).all()
    return Page.cut(rows, window, lambda entry: (entry.id,))
