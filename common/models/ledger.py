"""Verifications of the whole ledger: when, over how many rows, and what differed."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import Base, Created, Id, Instant


class LedgerVerification(Base):
    """One complete verification. `examples`: the first differences; `differences` counts all."""

    __tablename__ = "ledger_verifications"

    id: Mapped[Id]
    started_at: Mapped[Instant]
    finished_at: Mapped[Created]
    invocations: Mapped[int] = mapped_column(BigInteger)
    periods: Mapped[int] = mapped_column(BigInteger)
    gates: Mapped[int] = mapped_column(BigInteger)
    differences: Mapped[int] = mapped_column(BigInteger)
    examples: Mapped[list[dict[str, str]]] = mapped_column(JSONB)

    __table_args__ = (CheckConstraint("differences >= 0 and finished_at >= started_at", name="result"),)
