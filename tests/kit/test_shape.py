"""Values and depth are counted in the bytes of JSON text, exactly, whatever its strings hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.kit import shape

values = st.recursive(
    st.none() | st.integers() | st.text() | st.text('"\\\\[]{},:', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('"\\\\[{,', max_size=3), inner, max_size=4),
    max_leaves=30,
)


def counted(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(counted, inside))


def depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


@pytest.mark.parametrize("indent", [None, 3])
@pytest.mark.parametrize("shift", range(3))
def test_brackets_that_stand_between_two_pieces_are_counted_once(indent: int | None, shift: int) -> None:
    value = ["x" * shift, *[[], {}] * 30_000]
    text, many = json.dumps(value, indent=indent).encode(), counted(value)
    assert len(text) > 64 * 1024
    shape.check(text, depth=2, values=many)
    with pytest.raises(shape.TooManyValues):
        shape.check(text, depth=2, values=many - 1)


@given(values, st.sampled_from([None, 1]), st.booleans())
@example([], None, False)
@example([{}, [[]], "[[,", {"a": {}}], 2, True)
@example(["x"] * 10_000, None, True)
def test_exactly_as_many_as_there_are(value: Any, indent: int | None, escaped: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    deep, many = depth(value), counted(value)
    shape.check(text, depth=deep, values=many)
    if deep:
        with pytest.raises(shape.NestedTooDeep):
            shape.check(text, depth=deep - 1, values=many)
    if many > 1:
        with pytest.raises(shape.TooManyValues):
            shape.check(text, depth=deep, values=many - 1)


def raised(function: Callable[..., object], *args: object, **named: object) -> Exception | None:
    try:
        function(*args, **named)
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    return None


@pytest.mark.parametrize("text", [b"", b"]]]]", b'"', b'"\\' * 100_000, b'"' * 100_001, b'["\\"', b"{" * 20, b",,,,"])
def test_what_is_no_json_is_left_to_the_parser(text: bytes) -> None:
    assert raised(shape.check, text, depth=32) is None
