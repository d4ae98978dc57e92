"""What the budget remembers beside grants and usage: which thresholds a period has already been told of."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import Base, Created

THRESHOLDS = (80, 100)


class BudgetThreshold(Base):
    """One `budget.threshold` event: once per period and percentage."""

    __tablename__ = "budget_thresholds"

    period_id: Mapped[UUID] = mapped_column(ForeignKey("periods.id"), primary_key=True)
    percent: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    at: Mapped[Created]

    __table_args__ = (CheckConstraint("percent between 1 and 100", name="percent"),)
