"""What a tool may answer: strict JSON that can be stored, and pointers into it."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.kit.redaction import REDACTED, without
from common.tools.adapters.reading import MAX_DEPTH, Missing, Unreadable, at, parse, units

JSON = "application/json"

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('aä/~\\"', max_size=3), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"{",
        b"{}{}",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"NaN",
        b'{"a": NaN}',
        b"-Infinity",
        b"1e999",
        b"1" * 5_000,
        b"\xef\xbb\xbf",
        b'"\xff"',
        '{"a": "ä"}'.encode("utf-16"),
        b'"a\x00b"',
        b'"a\\u0000b"',
        b'{"a\\u0000": 1}',
        b'[[{"a": ["\\u0000"]}]]',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 1_000_000,
        b"<html></html>",
        b'{"a": 1, "a": 2}',
        b'[{"a": {"b": 1, "\\u0062": 2}}]',
    ],
    ids=range(26),
)
def test_what_is_not_strict_json_or_cannot_be_stored_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        parse(JSON, body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b" null ", None),
        (b'"\\\\u0000"', "\\u0000"),
        (b'"\\ud83d\\ude00"', "😀"),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
        (b'["' + b"[" * 500 + b'", "\\"{{{{"]', ["[" * 500, '"{{{{']),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"-18446744073709551617", -18446744073709551617),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'\xef\xbb\xbf"\xef\xbb\xbf"', "\ufeff"),
    ],
)
def test_what_can_be_read_keeps_its_value(body: bytes, value: Any) -> None:
    parsed = parse(JSON, body)
    assert value is None or parsed == value


@given(values)
def test_every_value_that_json_has_comes_through(value: Any) -> None:
    assert parse(JSON, json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=UTF-8",
        'application/json;charset="utf-8"',
        "application/problem+json",
        "application/vnd.api+json; profile=x",
        " application/json ",
        "text/html",
        "text/plain; charset=utf-8",
        "text/json",
        "TEXT/x-anything",
    ],
)
def test_media_types_that_are_json(content_type: str) -> None:
    assert parse(content_type, b"{}") == {}


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain; charset=iso-8859-1",
        "text",
        "text/",
        "application/octet-stream",
        "image/png",
        "application/jsonp",
        "application/json-seq",
        "application/json; charset=iso-8859-1",
        "application/json; charset=utf-16",
        "application/json, text/html",
    ],
)
def test_media_types_that_are_not(content_type: str) -> None:
    with pytest.raises(Unreadable):
        parse(content_type, b"{}")


# -- pointers (RFC 6901, section 5) --------------------------------------------------------------------------------

DOCUMENT = orjson.loads(
    b'{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\\\j": 5, "k\\"l": 6, " ": 7, "m~n": 8}'
)


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", DOCUMENT),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_pointers(pointer: str, value: Any) -> None:
    assert at(DOCUMENT, pointer) == value


@pytest.mark.parametrize(
    "pointer", ["foo", "/foo/2", "/foo/-", "/foo/-1", "/foo/00", "/foo/0/x", "/foo/٠", "/nope", "/foo/" + "9" * 5_000]
)
def test_pointers_that_lead_nowhere(pointer: str) -> None:
    with pytest.raises(Missing):
        at(DOCUMENT, pointer)


@given(st.lists(st.text() | st.text("~01/"), max_size=5))
@example(["~1"])
def test_any_path_can_be_pointed_at(path: list[str]) -> None:
    value: Any = "here"
    for key in reversed(path):
        value = {key: value}
    assert at(value, "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)) == "here"


@pytest.mark.parametrize("body", [b"0", b"3", b"2.5", b"1e18", b"123456789012345678901234567890"])
def test_units(body: bytes) -> None:
    value = parse(JSON, b'{"n": ' + body + b"}")
    assert units(value, "/n") == at(value, "/n")


@pytest.mark.parametrize("body", [b"-1", b"-0.5", b"true", b"null", b'"3"', b'"NaN"', b"[]", b"{}"])
def test_what_is_no_number_of_units(body: bytes) -> None:
    with pytest.raises(Unreadable):
        units(parse(JSON, b'{"n": ' + body + b"}"), "/n")
    with pytest.raises(Unreadable):
        units({"m": 1}, "/n")


# -- secrets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["sk-canary-1", 'quo"te\\d', "grün-käse"])
def test_our_own_secret_is_blotted_out_of_what_comes_back(secret: str) -> None:
    echoed = {"headers": {"authorization": f"Bearer {secret}", secret: [secret]}, "n": 1}
    parsed = parse(JSON, orjson.dumps(echoed), (secret,))
    assert parsed == {"headers": {"authorization": f"Bearer {REDACTED}", REDACTED: [REDACTED]}, "n": 1}


@given(values)
def test_blotting_out_changes_nothing_else(value: Any) -> None:
    assert without(value, ("a secret that is nowhere",)) == value
