"""Statements with typed rows, alone and inside a transaction."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from sqlalchemy import text

from common.kit import db as database
from common.kit.query import Query

pytestmark = pytest.mark.usefixtures("db")


class Number(NamedTuple):
    number: int


class Word(NamedTuple):
    word: str
    length: int


NUMBERS = "select n as number from generate_series(1, cast(:most as integer)) n order by n"
PAIRS = "select n as number, repeat('x', n) as word, n as length from generate_series(1, cast(:most as integer)) n"


def test_both_ways_give_the_declared_rows() -> None:
    query = Query(NUMBERS, Number)
    expected = [Number(1), Number(2)]
    assert database.execute(query, {"most": 2}) == expected
    with database.transaction() as session:
        assert database.fetch(session, query, {"most": 2}) == expected


def test_pairs() -> None:
    query = Query.pair(PAIRS, Number, Word)
    expected = [(Number(1), Word("x", 1)), (Number(2), Word("xx", 2))]
    assert database.execute(query, {"most": 2}) == expected
    with database.transaction() as session:
        assert database.fetch(session, query, {"most": 2}) == expected


def test_fetch_joins_the_transaction() -> None:
    query = Query("select current_setting('joyfull.test', true) as word, 0 as length", Word)
    with database.transaction() as session:
        session.execute(text("set local joyfull.test = 'mine'"))
        assert database.fetch(session, query)[0].word == "mine"
    assert database.execute(query, {})[0].word != "mine"


def test_a_renamed_column_is_a_type_error() -> None:
    renamed = NUMBERS.replace("as number", "as figure")
    with pytest.raises(TypeError, match="figure"):
        database.execute(Query(renamed, Number), {"most": 1})
    with pytest.raises(TypeError, match="figure"), database.transaction() as session:
        database.fetch(session, Query(renamed, Number), {"most": 1})


def test_reading_keeps_what_a_session_has_prepared() -> None:
    """The driver deallocates all of it after a ROLLBACK."""
    query = Query("select count(*) as number from pg_prepared_statements", Number)
    for _ in range(4):
        database.execute(query, {})
    (before,) = database.execute(query, {})
    with database.snapshot() as session:
        database.fetch(session, Query(NUMBERS, Number), {"most": 2})
    assert before.number > 0
    assert database.execute(query, {}) == [before]
