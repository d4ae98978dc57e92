"""A worker notices that PostgreSQL has lost commits: its last heartbeat was acknowledged, and an older one is there."""

from __future__ import annotations

from sqlalchemy import text

from common.kit import db as database
from worker.heartbeat import WENT_BACK, WorkerProcess

#: As a standby has it that did not get the last heartbeats.
EARLIER = text("update processes set heartbeat_at = heartbeat_at - interval '3 s' where id = :id")


def counted() -> float:
    return float(next(sample.value for metric in WENT_BACK.collect() for sample in metric.samples))


def test_a_heartbeat_that_was_committed_and_is_not_there(db: None) -> None:
    me, before = WorkerProcess(), counted()
    for _ in range(3):
        me._heartbeat()
    assert counted() == before
    assert database.rowcount(EARLIER, {"id": me.id}) == 1
    me._heartbeat()
    assert counted() == before + 1
    me._heartbeat()
    assert counted() == before + 1, "once for each time that it happens"


def test_an_answer_that_was_lost_is_no_lost_commit(db: None) -> None:
    """It is committed, and only this process does not know."""
    me, before = WorkerProcess(), counted()
    me._heartbeat()
    assert database.rowcount(text("update processes set heartbeat_at = now() where id = :id"), {"id": me.id}) == 1
    me._heartbeat()
    assert counted() == before
