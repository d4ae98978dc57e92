"""Without credentials a body can have 16 kB; a larger one is refused before it is parsed."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.web.conftest import Service, read_all, serving

LIMIT = 16 * 1024
JSON = {"Content-Type": "application/json"}
#: Every public operation with a method that can have a body.
PUBLIC = (
    "/auth/register",
    "/auth/login",
    "/auth/refresh",
    "/auth/logout",
    "/auth/password-reset",
    "/auth/password-reset/a-token",
    "/auth/verify-email",
    "/auth/verify-email/a-token",
)


@pytest.fixture(scope="module")
def hub(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The product's own application."""
    with serving(environ, tmp_path_factory.mktemp("public"), app="wsgi:app") as running:
        yield running


def of_size(size: int, start: bytes = b"[", piece: bytes = b"{},", end: bytes = b"{}]") -> bytes:
    """JSON of `size` bytes with as many values as fit."""
    body = start + piece * ((size - len(start) - len(end)) // len(piece)) + end
    return body + b" " * (size - len(body))


def test_the_list_above_is_complete(hub: Service) -> None:
    paths = hub("GET", "/api/v1/openapi.json").json()["paths"]
    public = {path for path, methods in paths.items() if methods.get("post", {}).get("security") == []}
    assert {path.removeprefix("/api/v1").replace("{token}", "a-token") for path in public} == set(PUBLIC)


@pytest.mark.parametrize("path", PUBLIC)
@pytest.mark.parametrize("size", [LIMIT + 1, 1024 * 1024])
def test_too_large(hub: Service, path: str, size: int) -> None:
    answer = hub("POST", f"/api/v1{path}", data=of_size(size), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert str(LIMIT) in answer.json()["detail"]


def test_whoever_says_nothing_of_the_size_is_cut_off_at_it(hub: Service) -> None:
    """Chunked and too large: refused before the JSON is found to be malformed."""
    with socket.create_connection(("127.0.0.1", hub.port), timeout=5) as connection:
        head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            connection.sendall(b"1000\r\n" + b"[" * 4096 + b"\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]


@pytest.mark.parametrize(
    ("start", "piece", "end"),
    [(b"[", b"{},", b"{}]"), (b'{"a":[', b'"",', b"0]}"), (b'"', b"x", b'"'), (b'{"password":"', b"\\u0041", b'"}')],
)
def test_as_much_as_is_allowed_is_read(hub: Service, start: bytes, piece: bytes, end: bytes) -> None:
    answer = hub("POST", "/api/v1/auth/login", data=of_size(LIMIT, start, piece, end), headers=JSON)
    assert answer.status_code == 422, answer.text


def test_the_longest_registration_fits(hub: Service, db: None) -> None:
    body = {"email": "long@example.com", "password": "\U0001f511" * 128, "name": "\U0001f600" * 200}
    answer = hub("POST", "/api/v1/auth/register", data=json.dumps(body), headers=JSON)
    assert answer.status_code == 201, answer.text


def test_what_leads_nowhere_is_not_judged_by_its_size(hub: Service) -> None:
    assert hub("POST", "/api/v1/nowhere", data=of_size(LIMIT + 1), headers=JSON).status_code == 404
    assert hub("POST", "/api/v1/invocations/batch", data=of_size(LIMIT + 1), headers=JSON).status_code == 401
