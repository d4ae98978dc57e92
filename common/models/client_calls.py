"""What is remembered of clients that repeat their requests by themselves."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, Index, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import Base, Created, Id, Instant, Word


class ClientCall(Base):
    """A call of a client that repeats by itself, and counts its repeats: these join it for some minutes.

    `credential_id`: the API key, or the session; `retries`: the highest count of a request that has joined it.
    """

    __tablename__ = "client_calls"

    id: Mapped[Id]
    user_id: Mapped[UUID]
    credential_id: Mapped[UUID]
    request_hash: Mapped[Word]
    retries: Mapped[int] = mapped_column(SmallInteger)
    #: When an answer was sent whole.
    answered_at: Mapped[Instant | None]
    created_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint("retries >= 0", name="retries"),
        Index("ix_client_calls_joined", "credential_id", "request_hash"),
        Index("ix_client_calls_created_at", "created_at"),
    )
