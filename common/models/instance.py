"""Which platform this database belongs to."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import Base, Created


class Instance(Base):
    """One row, made with the tables."""

    __tablename__ = "instance"
    __table_args__ = (CheckConstraint("one_row", name="one_row"),)

    one_row: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default=text("true"))
    id: Mapped[UUID] = mapped_column(Uuid, server_default=text("gen_random_uuid()"))
    created_at: Mapped[Created]
