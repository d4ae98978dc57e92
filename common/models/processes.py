"""Worker processes and periodic work: what is alive, and what was last done."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import Base, Created, Id, Instant, Word


class Process(Base):
    """A worker process and its heartbeat. Without one it loses its rows in two steps: suspect, then dead."""

    __tablename__ = "processes"

    id: Mapped[Id]
    kind: Mapped[Word]
    name: Mapped[Word]
    started_at: Mapped[Created]
    heartbeat_at: Mapped[Created]
    progress_at: Mapped[Created]
    suspect_at: Mapped[Instant | None]
    stopping: Mapped[bool] = mapped_column(server_default=text("false"))

    __table_args__ = (Index("ix_processes_heartbeat_at", "heartbeat_at"),)


class SweepRun(Base):
    """When each periodic piece of work was last done, and how it went: what `doctor` and alerts look at."""

    __tablename__ = "sweep_runs"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    ran_at: Mapped[Created]
    milliseconds: Mapped[int]
    runs: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    failures: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))

    __table_args__ = (CheckConstraint("milliseconds >= 0 and runs >= failures", name="counts"),)
