"""The audit log: who changed what, when and from where."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import Base, Created, Id, Word, one_of

ACTOR_KINDS = ("session", "api_key", "link", "operator", "platform")


class AuditEntry(Base):
    """Who changed what, when, from where, before and after. Append-only: the triggers below refuse anything else."""

    __tablename__ = "audit_log"

    id: Mapped[Id]
    at: Mapped[Created]
    #: Null: an operator at the command line, or the platform itself.
    actor_id: Mapped[UUID | None]
    actor_kind: Mapped[Word]
    action: Mapped[Word]
    target_type: Mapped[Word]
    target_id: Mapped[Word]
    before: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    after: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    #: `before` and `after`, where `jsonb` would reorder or respell them.
    as_sent: Mapped[dict[str, dict[str, object]] | None] = mapped_column(JSON(none_as_null=True))
    request_id: Mapped[Word | None]
    ip: Mapped[Word | None]

    __table_args__ = (
        CheckConstraint(one_of("actor_kind", ACTOR_KINDS), name="actor_kind"),
        Index("ix_audit_log_target", "target_type", "target_id", "id"),
        Index("ix_audit_log_actor_id", "actor_id", "id"),
    )

    @property
    def shown_before(self) -> dict[str, object] | None:
        """`before` as it was sent."""
        return (self.as_sent or {}).get("before", self.before)

    @property
    def shown_after(self) -> dict[str, object] | None:
        """`after` as it was sent."""
        return (self.as_sent or {}).get("after", self.after)


#: What metadata cannot say; for the migration and for tests that build the tables from metadata.
DDL_UP = (
    """
    create function audit_log_is_append_only() returns trigger language plpgsql as $$
    begin
        raise exception 'audit_log is append-only' using errcode = 'restrict_violation';
    end $$
    """,
    """
    create trigger audit_log_no_change before update or delete on audit_log
        for each row execute function audit_log_is_append_only()
    """,
    """
    create trigger audit_log_no_truncate before truncate on audit_log
        for each statement execute function audit_log_is_append_only()
    """,
)
DDL_DOWN = (
    "drop trigger if exists audit_log_no_truncate on audit_log",
    "drop trigger if exists audit_log_no_change on audit_log",
    "drop function if exists audit_log_is_append_only()",
)
