"""What the platform has signed for others to check: its keys, and the receipts that it has issued."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import Base, Created, Id, Instant, Word


class SigningKey(Base):
    """An Ed25519 key pair. Public keys are kept for good; the private part is encrypted for the id, and forgotten when
    the key is retired.
    """

    __tablename__ = "signing_keys"

    id: Mapped[Id]
    #: The key's thumbprint (RFC 7638).
    kid: Mapped[Word] = mapped_column(unique=True)
    #: The 32 bytes in URL-safe base64: `x` of its JWK (RFC 8037).
    public_key: Mapped[Word]
    private_key: Mapped[str | None]
    #: True or null: at most one key signs.
    is_current: Mapped[bool | None] = mapped_column(unique=True)
    created_at: Mapped[Created]
    retired_at: Mapped[Instant | None]

    __table_args__ = (
        CheckConstraint("is_current is not false", name="is_current"),
        CheckConstraint("(is_current is null) = (retired_at is not null)", name="retired"),
        CheckConstraint("(is_current is null) = (private_key is null)", name="private_key"),
    )


class StoredReceipt(Base):
    """The receipt of an ended invocation, a compact JWS: made when it is first asked for, and never made again."""

    __tablename__ = "receipts"

    invocation_id: Mapped[UUID] = mapped_column(ForeignKey("invocations.id"), primary_key=True)
    jws: Mapped[Word]
    created_at: Mapped[Created]
