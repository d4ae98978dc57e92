"""Invocations that are submitted again and again, at times."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import MAX_TOKENS, Base, Created, Id, Instant, Json, Word


class Schedule(Base):
    """What is submitted, and when.

    `next_at` is the next time; `due_at`, when a sweep is to look at it: then, or later after a failure. Both are null
    while it is paused, and when no time is left. `last_*`: the latest time that was dealt with, and what came of it.
    """

    __tablename__ = "schedules"

    id: Mapped[Id]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    tool_id: Mapped[UUID] = mapped_column(ForeignKey("tools.id"))
    input: Mapped[object] = mapped_column(JSONB(none_as_null=False))
    #: As text, where `jsonb` would reorder keys or respell numbers.
    input_as_sent: Mapped[object | None] = mapped_column(JSON(none_as_null=True))
    metadata_: Mapped[Json] = mapped_column("metadata", server_default=text("'{}'"))
    metadata_as_sent: Mapped[object | None] = mapped_column(JSON(none_as_null=True))
    max_tokens: Mapped[int | None] = mapped_column(BigInteger)
    webhook_url: Mapped[str | None]
    cron: Mapped[str | None]
    every_seconds: Mapped[int | None]
    timezone: Mapped[Word] = mapped_column(server_default="UTC")
    #: What `every_seconds` counts from.
    counted_from: Mapped[Instant]
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    next_at: Mapped[Instant | None]
    due_at: Mapped[Instant | None]
    last_at: Mapped[Instant | None]
    last_invocation_id: Mapped[UUID | None]
    last_problem: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[Created]
    updated_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint("(cron is null) <> (every_seconds is null)", name="times"),
        CheckConstraint("every_seconds >= 60", name="every_seconds"),
        CheckConstraint(f"max_tokens between 0 and {MAX_TOKENS}", name="max_tokens"),
        CheckConstraint("(next_at is null) = (due_at is null)", name="due"),
        CheckConstraint("not paused or next_at is null", name="paused"),
        CheckConstraint("last_invocation_id is null or last_problem is null", name="outcome"),
        CheckConstraint("last_at is not null or num_nonnulls(last_invocation_id, last_problem) = 0", name="last"),
        Index("ix_schedules_user_id_id", "user_id", "id"),
        Index("ix_schedules_due_at", "due_at", postgresql_where=text("due_at is not null")),
    )
