"""Sessions: each login is a family of refresh tokens, of which only hashes are kept."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import Base, Created, Id, Instant, Word, one_of

#: What a session is carried by: tokens of the API, or the cookie of the console.
SESSION_KINDS = ("api", "console")


class RefreshFamily(Base):
    """One login: the chain of refresh tokens that descend from it, revoked as a whole."""

    __tablename__ = "refresh_families"

    id: Mapped[Id]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]
    #: Absolute: rotation does not move it.
    expires_at: Mapped[Instant]
    revoked_at: Mapped[Instant | None]
    revoke_reason: Mapped[Word | None]
    kind: Mapped[Word] = mapped_column(default="api", server_default=text("'api'"))
    #: Where and with what it began, as its owner is shown it. Null: before this was recorded, or forgotten.
    network: Mapped[Word | None]
    user_agent: Mapped[Word | None]
    #: To the minute, not to the request. Null: not used since its login.
    last_seen_at: Mapped[Instant | None]
    #: When the password was last given in this session. Null: when it began.
    confirmed_at: Mapped[Instant | None]

    __table_args__ = (
        CheckConstraint(one_of("kind", SESSION_KINDS), name="kind"),
        CheckConstraint("(revoked_at is null) = (revoke_reason is null)", name="revoke_reason"),
        Index("ix_refresh_families_live", "user_id", postgresql_where=text("revoked_at is null")),
        Index("ix_refresh_families_expires_at", "expires_at"),
    )


class RefreshToken(Base):
    """A link of the chain. Spending it is one UPDATE … WHERE used_at IS NULL that names its only successor."""

    __tablename__ = "refresh_tokens"

    id: Mapped[Id]
    family_id: Mapped[UUID] = mapped_column(ForeignKey("refresh_families.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[Word]
    created_at: Mapped[Created]
    used_at: Mapped[Instant | None]
    successor_id: Mapped[UUID | None]

    __table_args__ = (
        UniqueConstraint("token_hash"),
        UniqueConstraint("successor_id"),
        CheckConstraint("(used_at is null) = (successor_id is null)", name="successor_id"),
    )
