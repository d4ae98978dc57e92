"""What a user would build of Celery, Redis and SQLAlchemy: a row for each call, two UPDATEs of it and a row of usage.

`celery -A tools.bench.limits.naive worker -P threads -c N -Q naive`. Environment: `BARE_BROKER`, `BARE_TOOL` (a URL),
`BARE_DATABASE` (a URL), in which `python -m tools.bench.limits.naive` has made the tables.
"""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from typing import Any

import requests
from celery import Celery
from sqlalchemy import ForeignKey, create_engine, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

app = Celery(broker=os.environ["BARE_BROKER"])
app.conf.update(task_ignore_result=True, worker_hijack_root_logger=False)
engine = create_engine(os.environ["BARE_DATABASE"], pool_size=16)  # as many as there are threads
_mine = threading.local()


class Base(DeclarativeBase):
    """What both tables are declared with."""

    type_annotation_map = {dict[str, Any]: JSONB}  # noqa: RUF012 - SQLAlchemy reads it as it is


class NaiveRun(Base):
    """A call and its result."""

    __tablename__ = "naive_runs"
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(index=True)
    input: Mapped[dict[str, Any]]
    status: Mapped[str]
    output: Mapped[dict[str, Any] | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class NaiveUsage(Base):
    """What a call cost."""

    __tablename__ = "naive_usage"
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("naive_runs.id"))
    user_id: Mapped[str] = mapped_column(index=True)
    units: Mapped[int]


@app.task(name="naive.run")
def run(run_id: str) -> None:
    if not hasattr(_mine, "session"):
        _mine.session = requests.Session()
    of_run = update(NaiveRun).where(NaiveRun.id == run_id)
    with Session(engine) as session:
        session.execute(of_run.values(status="running", started_at=datetime.now(UTC)))
        session.commit()
        output = _mine.session.post(os.environ["BARE_TOOL"], json={"text": "some words"}, timeout=30).json()
        session.execute(of_run.values(status="succeeded", output=output, finished_at=datetime.now(UTC)))
        session.add(NaiveUsage(run_id=run_id, user_id="bench", units=output["units"]))
        session.commit()


if __name__ == "__main__":
    Base.metadata.create_all(engine)
