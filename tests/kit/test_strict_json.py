"""The one reader of JSON that others wrote: what it refuses, and that it keeps every value exactly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.kit import strict_json
from common.kit.strict_json import JsonReader, NestedTooDeep, NotJson, RepeatedKey, TooManyValues

READER = JsonReader(depth=4, keys=3)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (b'{"a": 1, "b": 2, "a": 1}', RepeatedKey, "has an object with the key 'a' more than once."),
        (b'[{"x": {"a": 1, "\\u0061": 2}}]', RepeatedKey, "has an object with the key 'a' more than once."),
        (b'[{"a": NaN}]', NotJson, "is not valid JSON: NaN is not allowed."),
        (b"-Infinity", NotJson, "is not valid JSON: -Infinity is not allowed."),
        (b"1e999", NotJson, "has a number that is too large."),
        (b"1" * 501, NotJson, "has a number with too many digits."),
        (b'["%s", 1.5, -%s]' % (b"1" * 501, b"1" * 501), NotJson, "has a number with too many digits."),
        (b"1" * 5_000, NotJson, "has a number with too many digits."),
        (b'"\xff"', NotJson, "is not valid UTF-8: invalid byte at offset 1."),
        (b'"\xed\xa0\x80"', NotJson, "is not valid UTF-8: invalid byte at offset 1."),
        (b"\xef\xbb\xbf1", NotJson, "is not valid JSON: Expecting value at line 1, column 1."),
        (b"{'a': 1}", NotJson, None),
        (b'"a\tb"', NotJson, None),
        (b"1 2", NotJson, None),
        (b"", NotJson, None),
        (b"[[[[[]]]]]", NestedTooDeep, "is nested more than 4 levels deep."),
        (b"[" * 1_000_000, NestedTooDeep, "is nested more than 4 levels deep."),
        (b"[" + b"0," * 200_000 + b"0]", TooManyValues, "has more than 200,000 values."),
        (b'{"a": 1, "b": 2, "c": 3, "d": 4}', TooManyValues, "has an object with more than 3 keys."),
    ],
    ids=range(19),
)
def test_what_is_refused_says_why(text: bytes, kind: type[strict_json.UnacceptableJson], message: str | None) -> None:
    with pytest.raises(strict_json.UnacceptableJson) as caught:
        READER.read(text)
    assert type(caught.value) is kind
    assert message is None or str(caught.value) == message


def test_what_has_many_digits_and_is_no_long_integer() -> None:
    digits = b"1" * 501
    text = b'["%s", {"%s": 0.%s}, %s]' % (digits, digits, digits, b"-" + digits[1:])
    assert READER.read(text) == json.loads(text)


@given(values, st.booleans())
def test_every_value_comes_through_exactly(value: Any, escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=escaped).encode()
    assert JsonReader(depth=20).read(text) == value


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (b'"a"', []),
        (b'"\\\\u0000"', []),
        (b'"\\ud83d\\ude00"', []),
        (b'"\\u0000"', [()]),
        (b'[{"a": ["x", "\\ud800"]}, {"\\u0000": "\\udc00"}]', [(0, "a", 1), (1,), (1, "\0")]),
    ],
)
def test_characters_that_cannot_be_stored(text: bytes, paths: list[tuple[str | int, ...]]) -> None:
    assert list(strict_json.unstorable(text, READER.read(text))) == paths
