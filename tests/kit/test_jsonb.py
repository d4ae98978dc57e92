"""What `jsonb` keeps as it is, and what has to be kept beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from common.kit import jsonb

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('aäb/"', max_size=3), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def server(database_url: str) -> Iterator[psycopg.Connection[tuple[str]]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@given(value=values)
@example(value={"b": 1, "a": 2})
@example(value={"a": 1, "bb": 2, "ä": 3})
@example(value=[-0.0, 1e16, 1e22, 1e-7, 1.0, 5e-324, 1.7976931348623157e308])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_read_is_what_was_sent(server: psycopg.Connection[tuple[str]], value: Any) -> None:
    query = "select coalesce(cast(%s as json)::text, cast(%s as jsonb)::text)"
    row = server.execute(query, (jsonb.as_sent(value), jsonb.dumps(value))).fetchone()
    assert row
    assert json.dumps(json.loads(row[0])) == json.dumps(value)


@pytest.mark.parametrize("value", [None, {}, [], "text", 1, 1.5, {"a": 1, "b": [1.0, 2], "cc": {"ddd": {}}}])
def test_what_is_kept_is_not_stored_twice(value: Any) -> None:
    assert jsonb.as_sent(value) is None


def test_what_takes_long_to_look_through_is_stored_twice() -> None:
    many: list[Any] = [{}] * jsonb.LOOKED_AT
    assert jsonb.as_sent(many[1:]) is None
    assert jsonb.as_sent(many) == jsonb.dumps(many)


def test_canonical_bytes_are_equal_for_equal_values() -> None:
    same = [{"a": 1, "b": [100, {"é": 0}]}, {"b": [1e2, {"é": -0.0}], "a": 1.0}]
    assert jsonb.canonical(same[0]) == jsonb.canonical(same[1])
    assert jsonb.canonical(1e22) == jsonb.canonical(10**22)
    assert jsonb.canonical([1e308, -1e40, 1.0]) == b"[1e+308,-1e+40,1]"
    others = [1, 1.5, "1", "1.0", [1], 2**53, 2**53 + 1, True, None, {"1": 1}, 1e-7]
    assert len({jsonb.canonical(value) for value in others}) == len(others)
    assert jsonb.canonical({"b": "5.0", "a": 1.5}) == b'{"a":1.5,"b":"5.0"}'
    assert jsonb.canonical([1.0] * jsonb.LOOKED_AT) == jsonb.canonical([1] * jsonb.LOOKED_AT)
    long = jsonb.canonical([1.0] * (jsonb.LOOKED_AT + 1))
    assert long == b"[" + b",".join([b"1.0"] * (jsonb.LOOKED_AT + 1)) + b"]"


def test_stored_text_is_passed_on_as_it_is() -> None:
    """Also beside an integer beyond 64 bits, which orjson does not write."""
    text = '{"b": 1.0, "a": [1e22, "ä"]}'
    assert jsonb.encoded({"input": jsonb.passed_on(text), "output": jsonb.passed_on(None)}) == (
        f'{{"input":{text},"output":null}}'.encode()
    )
    beside = json.loads(jsonb.encoded({"large": 2**70, "input": jsonb.passed_on(text)}))
    assert beside == {"large": 2**70, "input": {"b": 1.0, "a": [1e22, "ä"]}}
    with pytest.raises(TypeError, match="set is not JSON"):
        jsonb.encoded({"wrong": {1}})


@given(value=values)
@example(value=[2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**400, 1e300, "1" * 30])
def test_what_is_stored_is_read_as_it_is(value: Any) -> None:
    text = jsonb.dumps(value)
    assert repr(jsonb.parsed(text)) == repr(value)
