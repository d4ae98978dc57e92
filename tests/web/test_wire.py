"""Raw requests: framing, sizes and slow bodies. No response is HTML, and no request hangs."""

from __future__ import annotations

import socket
import time

import pytest

from tests.web.conftest import Service, read_all

POST = b"POST /api/v1/things HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n"
LIMIT = 1024 * 1024


def assert_refused(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert b"application/problem+json" in head
    assert b'"code":"%s"' % code.encode() in body
    assert b"X-Request-ID" in head
    assert b'"instance":"' in body
    assert b"<html" not in answer


REFUSED: list[tuple[str, bytes, int, str]] = [
    (
        "two lengths",
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "malformed_request",
    ),
    ("bad length", POST + b"Content-Length: +2\r\n\r\n{}", 400, "malformed_request"),
    ("bad chunk", POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400, "malformed_request"),
    ("unknown coding", POST + b"Transfer-Encoding: cow\r\n\r\n", 400, "malformed_request"),
    ("long URL", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
    ("200 headers", GET + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\n", 431, "headers_too_large"),
    ("32 kB header", GET + b"X-A: " + b"a" * 32_768 + b"\r\n\r\n", 431, "headers_too_large"),
    ("no Host", b"GET /health HTTP/1.1\r\n\r\n", 400, "malformed_request"),
    ("two Hosts", GET + b"Host: y\r\n\r\n", 400, "malformed_request"),
    (
        "no Host, with a body",
        POST.replace(b"Host: x\r\n", b"") + b"Content-Length: 2\r\n\r\n{}",
        400,
        "malformed_request",
    ),
    ("a Host that is none", GET.replace(b"Host: x", b"Host: a b/c") + b"\r\n", 400, "malformed_request"),
    ("no HTTP", b"HELLO\r\n\r\n", 400, "malformed_request"),
    ("space in a header name", GET + b"X A: 1\r\n\r\n", 400, "malformed_request"),
    ("length over the limit", POST + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1), 413, "payload_too_large"),
    (
        "over the limit where no body is read",
        GET + b"Content-Length: 99999999999\r\n\r\n",
        413,
        "payload_too_large",
    ),
]


@pytest.mark.parametrize(("request_", "status", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(service: Service, request_: bytes, status: int, code: str) -> None:
    """And the connection is closed."""
    assert_refused(service.raw_to_the_end(request_), status, code)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /health HTTP/1.0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: [::1]:8000\r\nConnection: close\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: xn--strae-oqa.example:80\r\nConnection: close\r\n\r\n",
    ],
)
def test_hosts_that_are_fine(service: Service, request_: bytes) -> None:
    assert service.raw(request_)[8:].startswith(b" 200 ")


def test_a_chunked_body_over_the_limit(service: Service) -> None:
    """Refused when the limit is reached, not when the client has finished; the connection is closed."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(17):
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
        assert_refused(read_all(connection), 413, "payload_too_large")


def test_a_chunked_body_within_the_limit(service: Service) -> None:
    body = b'{"name":"a"}'
    answer = service.raw(
        POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    )
    assert answer.startswith(b"HTTP/1.1 201")


def test_a_body_that_drips(service: Service) -> None:
    """The deadline covers the whole body, so sending a byte now and then does not extend it."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        connection.sendall(POST + b"Content-Length: 100\r\n\r\n")
        for _ in range(3):
            connection.sendall(b" ")
            time.sleep(0.2)  # within the deadline, which is a second here
        assert_refused(read_all(connection), 408, "request_timeout")


def test_a_body_that_ends_early(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        connection.sendall(POST + b'Content-Length: 50\r\n\r\n{"name":"a"}')
        connection.shutdown(socket.SHUT_WR)
        assert_refused(read_all(connection), 400, "malformed_request")


def test_expect_100_continue_is_not_a_way_around(service: Service) -> None:
    assert_refused(service.raw(POST + b"Expect: 200-maybe\r\nContent-Length: 2\r\n\r\n{}"), 400, "malformed_request")


def test_pipelined_requests_keep_apart(service: Service) -> None:
    """The rest of a refused body must not be read as the next request."""
    smuggled = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = service.raw(POST + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1) + smuggled, wait=1)
    assert answer.count(b"HTTP/1.1 ") == 1


def test_gunicorn_logs_a_refusal_with_a_request_id(service: Service) -> None:
    answer = service.raw(b"HELLO\r\n\r\n")
    request_id = answer.partition(b"X-Request-ID: ")[2].partition(b"\r\n")[0].decode()
    assert "refused before the application" in service.logged(request_id)


def test_a_garbage_collection_leaves_out_what_was_loaded(service: Service) -> None:
    """It takes a tenth of a second otherwise, in which nobody is served."""
    frozen, collected = service("GET", "/api/v1/things/collected").json()["data"]
    assert frozen > 4 * collected
