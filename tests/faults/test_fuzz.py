"""Whatever is thrown at something that parses, it answers with its own refusal or a value it can stand for."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import orjson
import pytest
from flask import Flask, request
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from common.errors import InvalidCursor, InvalidHeader, PlatformError, Unauthenticated
from common.identity import keys
from common.kit import crypto, failpoints, http_headers, jsonschemas
from common.kit.outbound import addresses
from common.kit.outbound.errors import Refused
from common.settings import Settings
from common.tools import schemas
from common.tools.adapters import reading
from web.http import body, idempotency, pagination, submissions

fuzzed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

TEXT = st.text(max_size=60)
#: Text that is almost what is meant: its pieces, and anything between them.
URLS = st.lists(
    st.sampled_from(
        [
            "http",
            "https",
            "://",
            ":",
            "/",
            "@",
            ".",
            "..",
            "%",
            "%00",
            "[",
            "]",
            "::1",
            "127.0.0.1",
            "0x7f",
            "2130706433",
            "017700000001",
            "localhost",
            "example.com",
            "\\",
            "#",
            "?",
            "\t",
            "\n",
            "０",
            "ｅxample",
            "。",
            "xn--",
            "169.254.169.254",
            "::ffff:127.0.0.1",
            "64:ff9b::",
            "443",
            "0",
            "99999",
            "-1",
        ]
    )
    | st.text(max_size=4),
    max_size=9,
).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def app(settings: Settings) -> Iterator[Flask]:
    crypto.configure(("a key of the tests alone, with 32 bytes",))
    yield Flask(__name__)
    crypto.configure(settings.secrets_keys)


@fuzzed
@given(URLS | st.text(max_size=3000))
@example("http://[::1%25eth0]/")
@example("http://127.1/")
@example("http:\\\\example.com")
def test_urls(url: str) -> None:
    try:
        target = addresses.parse(url)
    except Refused:
        return
    assert target.scheme in ("http", "https") and target.host and 0 < target.port < 65536
    assert not any(ord(char) <= 32 or ord(char) == 127 for char in target.url)
    if target.literal is not None:
        assert ip_address(str(target.literal))
    assert addresses.parse(target.url) == target, "what was read once reads the same again"


@fuzzed
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_cursors_that_are_not_ours(app: Flask, cursor: str) -> None:
    with app.test_request_context("/things"), pytest.raises(InvalidCursor):
        pagination.decode(cursor)


@fuzzed
@given(st.tuples(st.uuids(), st.integers(-(2**63), 2**63 - 1), TEXT), st.data())
def test_cursors_of_ours(app: Flask, position: tuple[Any, ...], data: st.DataObject) -> None:
    with app.test_request_context("/things"):
        cursor = pagination.encode(position)
        assert pagination.decode(cursor) == position
        at = data.draw(st.integers(0, len(cursor) - 1))
        other = data.draw(st.characters().filter(lambda char: char != cursor[at]))
        with pytest.raises(InvalidCursor):
            pagination.decode(cursor[:at] + other + cursor[at + 1 :])


def _header(app: Flask, name: str, value: str, read: Callable[[], Any]) -> Any:
    headers = Headers([(name, value.encode("latin-1", "replace").decode("latin-1"))])
    with app.test_request_context("/", headers=headers):
        assert request.headers.getlist(name)
        return read()


ONE_LINE = st.text(st.characters(exclude_characters="\r\n"), max_size=300)


@fuzzed
@given(ONE_LINE | st.text('wait=; ,"0123456789 respond-async', max_size=40))
def test_prefer_is_a_wait_or_nothing(app: Flask, value: str) -> None:
    seconds = _header(app, "Prefer", value, submissions.preferred_wait)
    assert seconds is None or 1 <= seconds <= 60


@fuzzed
@given(ONE_LINE)
def test_idempotency_keys(app: Flask, value: str) -> None:
    try:
        key = _header(app, "Idempotency-Key", value, idempotency.key)
    except InvalidHeader:
        return
    assert 1 <= len(key) <= 255 and key.isascii() and key.isprintable()


@fuzzed
@given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
@example(b'{"a": 1, "a": 2}')
@example(b"[" * 5000)
@example(b'"\\ud800"')
@example(b"1" * 5000)
@example(b"1e999")
def test_bodies(raw: bytes) -> None:
    try:
        value = body.parse(raw)
    except PlatformError as refusal:
        assert 400 <= refusal.status < 500 if hasattr(refusal, "status") else True
        return
    json.dumps(value, allow_nan=False).encode()


@fuzzed
@given(st.sampled_from(["application/json", "application/problem+json; charset=utf-8"]) | TEXT, st.binary(max_size=300))
@example("application/json", b"\xef\xbb\xbf{}")
@example("application/json", b"[" * 100 + b"]" * 100)
def test_answers_of_tools(content_type: str, raw: bytes) -> None:
    try:
        value = reading.parse(content_type, raw, secrets=("hunter2 hunter2",))
    except reading.Unreadable:
        return
    assert "\0" not in json.dumps(value, ensure_ascii=False)


@fuzzed
@given(JSON, st.text("/~01ab9-", max_size=12) | TEXT)
def test_pointers(value: Any, pointer: str) -> None:
    with contextlib.suppress(reading.Missing):
        reading.at(value, pointer)
    with contextlib.suppress(reading.Unreadable):
        assert reading.units(value, pointer) >= 0 or json.dumps(reading.at(value, pointer)) == "NaN"


WORDS = st.sampled_from(
    ["type", "$ref", "properties", "pattern", "items", "minimum", "allOf", "$schema", "$id", "format", "enum", "const"]
)
SCHEMAS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["object", "string", "#", "http://x/", "(a+)+$"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@fuzzed
@given(st.dictionaries(WORDS | TEXT, SCHEMAS, max_size=4), JSON)
@example({"$ref": "file:///etc/passwd"}, {})
@example({"pattern": "(" * 300}, "x")
def test_schemas(schema: dict[str, Any], value: Any) -> None:
    try:
        schemas.check_schema(schema)
    except ValueError:
        return
    try:
        storable = orjson.loads(orjson.dumps(value))
    except (orjson.JSONEncodeError, TypeError):
        return
    assert jsonschemas.compiled(schema).is_valid(storable) in (True, False)


@fuzzed
@given(TEXT | st.from_regex(r"jh_[0-9A-Za-z]{1,20}_[0-9A-Za-z]{40,60}", fullmatch=True))
def test_api_keys_that_are_none(key: str) -> None:
    """Refused by their checksum: nobody is asked (there is no database here)."""
    with pytest.raises(Unauthenticated):
        keys.authenticate(key)


@fuzzed
@given(
    st.none() | TEXT | st.integers().map(str) | st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT"))
)
def test_retry_after(value: str | None) -> None:
    seconds = http_headers.retry_after(value, datetime(2030, 1, 1, tzinfo=UTC))
    assert seconds is None or 0 <= seconds <= http_headers.MAX_RETRY_AFTER


@fuzzed
@given(TEXT)
def test_failpoint_actions(text: str) -> None:
    try:
        action = failpoints.parse_action(text)
    except ValueError:
        return
    assert 0 <= action.probability <= 1 and action.seconds >= 0
