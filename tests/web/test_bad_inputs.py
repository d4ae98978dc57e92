"""Invalid bodies, fields, queries and paths, and the error for each: over real HTTP against real gunicorn."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import requests

from tests.web.conftest import Service

THINGS = "/api/v1/things"
ONE = f"{THINGS}/00000000-0000-0000-0000-000000000001"
JSON = {"Content-Type": "application/json"}


def assert_problem(
    response: requests.Response, status: int, code: str | None = None, pointer: str | None = None
) -> None:
    assert response.status_code == status, response.text[:500]
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["X-Request-ID"]
    if code is not None:
        assert problem["code"] == code
    if pointer is not None:
        assert pointer in [fault["pointer"] for fault in problem["errors"]], problem


def nested(depth: int) -> bytes:
    return b'{"name":"a","free":{"a":' + b"[" * (depth - 2) + b"]" * (depth - 2) + b"}}"


BODIES: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("empty", b"", JSON, 400, "body_required"),
    ("blank", b"  \n ", JSON, 400, "body_required"),
    ("empty without a type", b"", {}, 415, "unsupported_media_type"),
    ("cut off", b"{", JSON, 400, "malformed_json"),
    ("null", b"null", JSON, 422, "validation_failed"),
    ("array", b"[]", JSON, 422, "validation_failed"),
    ("text", b'"x"', JSON, 422, "validation_failed"),
    ("number", b"1", JSON, 422, "validation_failed"),
    ("true", b"true", JSON, 422, "validation_failed"),
    ("JSON as text", b'{"name":"a"}', {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    ("JSON without a type", b'{"name":"a"}', {}, 415, "unsupported_media_type"),
    ("form", b"name=a", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    (
        "UTF-16",
        '{"name":"a"}'.encode("utf-16"),
        {"Content-Type": "application/json; charset=utf-16"},
        415,
        "unsupported_media_type",
    ),
    ("UTF-16, unsaid", '{"name":"a"}'.encode("utf-16"), JSON, 400, "malformed_json"),
    ("BOM", b'\xef\xbb\xbf{"name":"a"}', JSON, 400, "malformed_json"),
    ("not UTF-8", b'{"name":"\xff\xfe"}', JSON, 400, "malformed_json"),
    ("surrogates in UTF-8", b'{"name":"\xed\xa0\x80"}', JSON, 400, "malformed_json"),
    ("duplicate key", b'{"name":"a","name":"b"}', JSON, 400, "duplicate_key"),
    ("duplicate key inside", b'{"name":"a","free":{"x":[{"y":1,"y":2}]}}', JSON, 400, "duplicate_key"),
    ("duplicate key, escaped", b'{"name":"a","n\\u0061me":"b"}', JSON, 400, "duplicate_key"),
    ("NaN", b'{"name":"a","count":NaN}', JSON, 400, "malformed_json"),
    ("-Infinity", b'{"name":"a","count":-Infinity}', JSON, 400, "malformed_json"),
    ("NaN inside", b'{"name":"a","free":{"x":[NaN]}}', JSON, 400, "malformed_json"),
    ("too deep", nested(33), JSON, 400, "too_deep"),
    ("1,000 deep", nested(1000), JSON, 400, "too_deep"),
    ("20,000 deep", nested(20_000), JSON, 400, "too_deep"),
    ("20,000 deep, open", b"[" * 20_000, JSON, 400, "too_deep"),
    ("20,000 objects deep", b'{"a":' * 20_000, JSON, 400, "too_deep"),
    ("501 digits", b'{"name":"a","free":{"x":[-' + b"9" * 501 + b"]}}", JSON, 400, "malformed_json"),
    ("5,000 digits", b'{"name":"a","count":' + b"9" * 5000 + b"}", JSON, 400, "malformed_json"),
    ("400 digits", b'{"name":"a","count":' + b"9" * 400 + b"}", JSON, 422, "validation_failed"),
    ("over the limit", b'{"name":"' + b"a" * 1024 * 1024 + b'"}', JSON, 413, "payload_too_large"),
    ("100,000 keys", json.dumps({str(n): n for n in range(60_000)}).encode(), JSON, 422, "validation_failed"),
    (
        "1,001 keys inside",
        json.dumps({"name": "a", "free": dict.fromkeys(map(str, range(1001)))}).encode(),
        JSON,
        422,
        "validation_failed",
    ),
    ("200,001 values", b'{"name":"a","free":{"x":[' + b"0," * 199_996 + b"0]}}", JSON, 422, "validation_failed"),
    ("350,000 values", b'{"name":"a","free":{"x":[' + b"{}," * 340_000 + b"{}]}}", JSON, 422, "validation_failed"),
    ("200,000 values", b'{"name":"a","free":{"x":[' + b"0," * 199_995 + b"0]}}", JSON, 201, ""),
    ("gzip", gzip.compress(b'{"name":"a"}'), {**JSON, "Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
    ("garbage behind", b"{}{}", JSON, 400, "malformed_json"),
    ("comment", b'{"name":"a"} // hm', JSON, 400, "malformed_json"),
    ("single quotes", b"{'name':'a'}", JSON, 400, "malformed_json"),
    ("trailing comma", b'{"name":"a",}', JSON, 400, "malformed_json"),
    ("raw control character", b'{"name":"a\nb"}', JSON, 400, "malformed_json"),
    (
        "multipart",
        b"--x\r\n\r\n" * 100,
        {"Content-Type": "multipart/form-data; boundary=x"},
        415,
        "unsupported_media_type",
    ),
    ("unclosed quotes, 1 MB", b"[" * 40 + b'"\\' * 500_000, JSON, 400, "too_deep"),
    ("50 brackets in a text", json.dumps({"name": "[" * 50}).encode(), JSON, 201, ""),
    ("32 deep", nested(32), JSON, 201, ""),
    ("1,000 keys", json.dumps({"name": "a", "free": dict.fromkeys(map(str, range(1000)))}).encode(), JSON, 201, ""),
    ("a charset that is ours", b'{"name":"a"}', {"Content-Type": "application/json; charset=UTF-8"}, 201, ""),
]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES]
)
def test_bodies(service: Service, body: bytes, headers: dict[str, str], status: int, code: str) -> None:
    response = service("POST", THINGS, data=body, headers=headers)
    if status == 201:
        assert response.status_code == 201, response.text
    else:
        assert_problem(response, status, code)


FIELDS: list[tuple[str, str, Any, int]] = [
    ("unknown", "__proto__", {}, 422),
    ("unknown", "role", "admin", 422),
    ("NUL", "note", "a\0b", 422),
    ("lone surrogate", "note", "\ud800", 422),
    ("a pair of surrogates", "note", "😀", 201),
    ("an escaped backslash before u0000", "note", "\\u0000", 201),
    ("51 characters", "name", "a" * 51, 422),
    ("50 characters", "name", "😀" * 50, 201),
    ("marks in the wrong order", "name", "a" + "\u0315" * 80_000 + "\u0316" * 80_000, 422),
    ("200 that become 50", "name", "α\u0313\u0300\u0345" * 50, 201),
    ("204 that become 51", "name", "α\u0313\u0300\u0345" * 51, 422),
    ("empty", "name", "", 422),
    ("spaces", "name", " \t ", 422),
    ("zero width", "name", "\u200b\u2060\ufeff", 422),
    ("number for text", "name", 5, 422),
    ("markup", "note", "<script>{{7*7}}${jndi:}'; DROP TABLE x; %s%n ../../etc/passwd", 201),
    ("line break", "name", "a\r\nBcc: x", 422),
    ("escape sequence", "name", "a\x1b[2J", 422),
    ("NUL in a password", "secret", " a\0b ", 201),
    ("surrogate in a password", "secret", "\ud800", 422),
    ("fraction", "count", 1.9, 422),
    ("whole fraction", "count", 1.0, 422),
    ("true for a number", "count", True, 422),
    ("below", "count", -1, 422),
    ("above", "count", 11, 422),
    ("the most", "count", 10, 201),
    ("2^31", "number", 2**31, 422),
    ("2^31-1", "number", 2**31 - 1, 201),
    ("2^53", "tokens", 2**53, 422),
    ("2^53-1", "tokens", 2**53 - 1, 201),
    ("2^63", "tokens", 2**63, 422),
    ("2^64", "tokens", 2**64, 422),
    ("digits in a text", "count", "9" * 5000, 422),
    ("a digit in a text", "count", "5", 422),
    ("yes", "flag", "yes", 422),
    ("1", "flag", 1, 422),
    ("true in a text", "flag", "true", 422),
    ("false", "flag", False, 201),
    ("year zero", "at", "0000-00-00T00:00:00Z", 422),
    ("29 February", "at", "2027-02-29T00:00:00Z", 422),
    ("24:00", "at", "2027-01-01T24:00:00Z", 422),
    ("zone", "at", "2027-01-01T00:00:00+99:00", 422),
    ("leap second", "at", "2016-12-31T23:59:60Z", 422),
    ("no zone", "at", "2027-01-01T00:00:00", 422),
    ("a date", "at", "2027-01-01", 422),
    ("week date", "at", "2027-W01-1T00:00:00Z", 422),
    ("epoch", "at", 1_800_000_000, 422),
    ("year 9,999,999", "at", "9999999-01-01T00:00:00Z", 422),
    ("before the first", "at", "0001-01-01T00:00:00+14:00", 422),
    ("other digits", "at", "２０２７-01-01T00:00:00Z", 422),
    ("a moment", "at", "2027-01-31t12:00:00.123456789+01:00", 201),
    ("null", "count", None, 422),
    ("object for a number", "count", {}, 422),
    ("array for a text", "name", [], 422),
    ("text for an array", "tags", "a", 422),
    ("object for an array", "tags", {"a": 1}, 422),
    ("array for an object", "free", [["a", 1]], 422),
    ("too many", "tags", ["a"] * 10_001, 422),
    ("twice", "tags", ["a", "a"], 422),
    ("upper case id", "other", "0190ABCD-0000-7000-8000-000000000000", 422),
    ("braces", "other", "{0190abcd-0000-7000-8000-000000000000}", 422),
    ("id", "other", "0190abcd-0000-7000-8000-000000000000", 201),
    ("not a word", "kind", "huge", 422),
    ("17 labels", "labels", {str(n): "x" for n in range(17)}, 422),
    ("16 labels", "labels", {str(n): "" for n in range(16)}, 201),
    ("a number as label", "labels", {"a": 1}, 422),
]


@pytest.mark.parametrize(("field", "value", "status"), [row[1:] for row in FIELDS], ids=[row[0] for row in FIELDS])
def test_fields(service: Service, field: str, value: Any, status: int) -> None:
    response = service("POST", THINGS, data=json.dumps({"name": "a", field: value}), headers=JSON)
    if status == 201:
        assert response.status_code == 201, response.text
    else:
        assert_problem(response, status, "validation_failed")
        pointers = [fault["pointer"] for fault in response.json()["errors"]]
        assert all(pointer.startswith(f"/{field}") for pointer in pointers), pointers


@pytest.mark.parametrize(
    ("free", "pointer"),
    [({"a": ["ok", {"b/c": "\0"}]}, "/free/a/1/b~1c"), ({"x": {"a\ud800": 1}}, "/free/x"), ({"\0": 1}, "/free")],
    ids=["NUL", "surrogate in a key", "NUL in a key"],
)
def test_forbidden_characters_are_found_anywhere(service: Service, free: Any, pointer: str) -> None:
    response = service("POST", THINGS, data=json.dumps({"name": "a", "free": free}), headers=JSON)
    assert_problem(response, 422, "validation_failed", pointer)


def test_a_fault_in_a_pair_points_at_the_pair(service: Service) -> None:
    response = service("POST", THINGS, json={"name": "a", "labels": {"a/value": 1, "k" * 65: "", "fine": ""}})
    assert {fault["pointer"] for fault in response.json()["errors"]} == {"/labels/a~1value", f"/labels/{'k' * 65}"}


def test_text_comes_back_verbatim_but_for_the_normal_form(service: Service) -> None:
    note = "  <script>'; DROP TABLE \u202e %s\n\t😀 "
    response = service("POST", THINGS, json={"name": "e\u0301", "note": note})
    assert response.json()["data"] == {"name": "é", "note": note}


def test_numbers_that_no_float_holds(service: Service) -> None:
    """Python reads `1e400` as Infinity, which must not reach the database."""
    assert_problem(
        service("POST", THINGS, data=b'{"name":"a","free":{"x":1e400}}', headers=JSON), 400, "malformed_json"
    )
    large = service("POST", THINGS, data=b'{"name":"a","free":{"x":%d}}' % 10**30, headers=JSON)
    assert large.json()["data"]["free"] == {"x": 10**30}


QUERIES: list[tuple[str, str, int, str]] = [
    ("limit=0", "limit=0", 422, "validation_failed"),
    ("limit=-1", "limit=-1", 422, "validation_failed"),
    ("limit=101", "limit=101", 422, "validation_failed"),
    ("limit=1e20", "limit=1e20", 422, "validation_failed"),
    ("many digits", "limit=" + "9" * 5000, 422, "validation_failed"),
    ("other digits", "limit=%D9%A3", 422, "validation_failed"),
    ("underscore", "limit=1_0", 422, "validation_failed"),
    ("limit=abc", "limit=abc", 422, "validation_failed"),
    ("empty limit", "limit=", 422, "validation_failed"),
    ("twice", "limit=1&limit=2", 422, "validation_failed"),
    ("unknown", "nope=1", 422, "validation_failed"),
    ("not UTF-8", "q=%ff", 400, "malformed_request"),
    ("name not UTF-8", "%ff=1", 400, "malformed_request"),
    ("NUL", "q=%00", 422, "validation_failed"),
    ("garbage cursor", "cursor=garbage", 400, "invalid_cursor"),
    ("other letters", "cursor=%E2%82%AC" + "a" * 40, 400, "invalid_cursor"),
    ("flag=1", "flag=1", 422, "validation_failed"),
    ("flag=True", "flag=True", 422, "validation_failed"),
    ("unknown status", "status=open&status=ajar", 422, "validation_failed"),
    ("a + that became a space", "at=2027-01-01T00:00:00+00:00", 422, "validation_failed"),
    ("no zone", "at=2027-01-01T00:00:00", 422, "validation_failed"),
    ("metacharacters", "q=%27%20OR%201=1--%20%25_", 200, ""),
    ("status may repeat", "status=open&status=shut&limit=5&flag=true&at=2027-01-01T00:00:00Z", 200, ""),
]


@pytest.mark.parametrize(("query", "status", "code"), [row[1:] for row in QUERIES], ids=[row[0] for row in QUERIES])
def test_queries(service: Service, query: str, status: int, code: str) -> None:
    response = service("GET", f"{THINGS}/search?{query}")
    if status == 200:
        assert response.status_code == 200, response.text
    else:
        assert_problem(response, status, code)


PATHS: list[tuple[str, str, str, int]] = [
    ("a number", "GET", f"{THINGS}/99999999999999999999", 404),
    ("not an id", "GET", f"{THINGS}/abc", 404),
    ("NUL", "GET", f"{ONE}%00", 404),
    ("NUL in a text", "GET", f"{THINGS}/fail/a%00", 404),
    ("dots", "GET", f"{THINGS}/..%2f..", 404),
    ("not UTF-8", "GET", f"{THINGS}/%ff", 404),
    ("upper case", "GET", f"{THINGS}/0190ABCD-0000-7000-8000-000000000000", 404),
    ("braces", "GET", f"{THINGS}/{{0190abcd-0000-7000-8000-000000000000}}", 404),
    ("urn", "GET", f"{THINGS}/urn:uuid:0190abcd-0000-7000-8000-000000000000", 404),
    ("no dashes", "GET", f"{THINGS}/0190abcd000070008000000000000000", 404),
    ("trailing slash", "GET", f"{ONE}/", 404),
    ("two slashes", "GET", "/api/v1//things", 404),
    ("nothing", "GET", "/nothing", 404),
    ("PUT", "PUT", ONE, 405),
    ("TRACE", "TRACE", ONE, 405),
    ("FOO", "FOO", ONE, 405),
    ("PATCH", "PATCH", THINGS, 405),
]


@pytest.mark.parametrize(("method", "path", "status"), [row[1:] for row in PATHS], ids=[row[0] for row in PATHS])
def test_paths_and_methods(service: Service, method: str, path: str, status: int) -> None:
    response = service(method, path)
    assert_problem(response, status)
    assert ("Allow" in response.headers) == (status == 405)


def test_allow_lists_the_methods(service: Service) -> None:
    allow = service("FOO", ONE).headers["Allow"]
    assert set(allow.split(", ")) == {"GET", "HEAD", "DELETE", "OPTIONS"}


def test_bodies_that_nobody_asked_for(service: Service) -> None:
    assert service("POST", f"{ONE}/poke").status_code == 200
    assert service("POST", f"{ONE}/poke", data=b"{}", headers=JSON).status_code == 200
    assert_problem(service("POST", f"{ONE}/poke", data=b'{"a":1}', headers=JSON), 422, "validation_failed", "/a")
    assert_problem(service("POST", f"{ONE}/poke", data=b"{", headers=JSON), 400, "malformed_json")
    assert_problem(service("POST", f"{ONE}/poke", data=b"a=1"), 415)
    assert_problem(service("POST", f"{ONE}/poke?a=1"), 422, "validation_failed", "/a")


def test_bodies_that_may_be_empty(service: Service) -> None:
    path = f"{THINGS}/optional"
    assert service("POST", path).json() == {"data": {"count": 3}}
    assert service("POST", path, headers={"Content-Type": "text/plain"}).json() == {"data": {"count": 3}}
    assert service("POST", path, json={"count": 4}).json() == {"data": {"count": 4}}
    assert_problem(service("POST", path, data=b"null", headers=JSON), 422)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/xml", 406),
        ("text/html", 406),
        ("application/json;q=0", 406),
        ("*/*", 200),
        ("application/*", 200),
        ("text/html, */*;q=0.1", 200),
        ("nonsense", 406),
        ("", 200),
    ],
)
def test_accept(service: Service, accept: str, status: int) -> None:
    response = service("GET", ONE, headers={"Accept": accept})
    assert response.status_code == status
    if status == 406:
        assert_problem(response, 406, "not_acceptable")


def test_method_override_and_cookies_are_ignored(service: Service) -> None:
    assert (
        service("GET", ONE, headers={"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"}).status_code
        == 200
    )
    assert_problem(service("GET", f"{THINGS}/mine", cookies={"access_token_cookie": "x"}), 401, "unauthenticated")


@pytest.mark.parametrize("host", ["evil.com", "evil.com:99999", "a b", "[::1", ""])
def test_links_do_not_follow_the_host_header(service: Service, host: str) -> None:
    response = service("POST", THINGS, json={"name": "a"}, headers={"Host": host, "X-Forwarded-Host": "evil.com"})
    if response.status_code == 201:
        assert response.headers["Location"] == f"http://localhost:{service.port}{ONE}"
    else:
        assert_problem(response, 400)
