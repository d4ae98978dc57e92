"""A frozen PostgreSQL does not enforce its own timeouts; the client gives up by itself."""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest
from sqlalchemy import text

from common.kit import db
from common.kit.db import connection
from common.kit.query import Query
from tests.timing import frozen


class Backend(NamedTuple):
    pid: int


PID = Query("select pg_backend_pid() as pid", Backend)


@pytest.fixture(autouse=True)
def _soon(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT", 1.0)


def test_a_statement_without_an_answer_is_unknown() -> None:
    pid = db.execute(PID, {})[0].pid
    with frozen(pid):
        began = time.monotonic()
        with pytest.raises(db.CommitUnknown):
            db.execute(PID, {})
        assert time.monotonic() - began >= 1
        assert db.execute(PID, {})[0].pid != pid, "the next one takes another connection"


def test_a_transaction_without_an_answer_is_given_up() -> None:
    with pytest.raises(db.Unreachable), db.transaction() as session, frozen(db.fetch(session, PID)[0].pid):
        db.fetch(session, PID)
    assert db.execute(PID, {})


def test_without_timeout_waits_and_only_for_that_transaction() -> None:
    slow = text("select pg_sleep(2)")
    with db.snapshot() as session:
        db.without_timeout(session)
        session.execute(slow)
    with pytest.raises(db.Unreachable), db.snapshot() as session:
        session.execute(slow)


def test_with_timeout_cuts_off_and_only_in_that_transaction() -> None:
    slow = text("select pg_sleep(0.2)")
    with pytest.raises(db.Busy), db.snapshot() as session:
        db.with_timeout(session, 0.05)
        session.execute(slow)
    with db.snapshot() as session:
        session.execute(slow)


def test_it_is_one_of_the_client_too() -> None:
    with pytest.raises(db.Unreachable), db.snapshot() as session:
        db.with_timeout(session, 0.5)
        with frozen(db.fetch(session, PID)[0].pid):
            session.execute(text("select 1"))
