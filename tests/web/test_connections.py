"""Slow and idle clients are cut off, and others are not affected."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from common.identity import keys
from common.identity.audit import OPERATOR
from common.subscriptions import plans
from tests import factories
from tests.client import Client, eventually
from tests.web.conftest import Service, read_all, serving
from tests.web.test_big_pages import MIB, finish, unread
from tests.web.test_wire import GET, POST, assert_refused
from web.http import large_reads

# -- heads ---------------------------------------------------------------------------------------------------------


@contextmanager
def connected(service: Service, source: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20, source_address=(source, 0)) as connection:
        yield connection


@pytest.mark.parametrize("head", [b"G", GET, GET + b"X-A: ", POST + b"Content-Length: 2\r\n"])
def test_half_a_head_is_not_waited_for(service: Service, head: bytes) -> None:
    with connected(service) as connection:
        connection.sendall(head)
        assert_refused(read_all(connection), 408, "request_timeout")


def test_a_head_that_drips(service: Service) -> None:
    """The deadline covers the whole head, so sending a byte now and then does not extend it."""
    with connected(service) as connection:
        connection.settimeout(0.1)
        connection.sendall(GET)
        answer = b""
        for _ in range(200):
            connection.sendall(b"X: y\r\n"[:1])
            try:
                answer += connection.recv(65536)
                break
            except TimeoutError:
                continue
        connection.settimeout(20)
        assert_refused(answer + read_all(connection), 408, "request_timeout")


def test_a_connection_that_says_nothing_is_closed(service: Service) -> None:
    with connected(service) as connection:
        assert read_all(connection) == b""


def test_between_requests_a_connection_may_be_idle_for_longer(service: Service) -> None:
    with connected(service) as connection:
        for _ in range(2):
            connection.sendall(GET + b"\r\n")
            assert whole(connection).startswith(b"HTTP/1.1 200")
            time.sleep(1.5)  # longer than the deadline for a head
        connection.sendall(GET)
        assert_refused(read_all(connection), 408, "request_timeout")


def whole(connection: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(b"}}"):
        answer += connection.recv(65536)
    return answer


def test_requests_that_come_together_are_each_answered(service: Service) -> None:
    with connected(service) as connection:
        connection.sendall((GET + b"\r\n") * 3 + GET + b"Connection: close\r\n\r\n")
        assert read_all(connection).count(b"HTTP/1.1 200") == 4


#: In the kernel's `struct tcp_info` (linux/tcp.h): how many segments with data have arrived (4 bytes).
DATA_SEGMENTS_IN = slice(152, 156)


def test_an_answer_comes_in_one_piece(service: Service) -> None:
    with connected(service) as connection:
        connection.sendall(GET + b"\r\n")
        whole(connection)
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, DATA_SEGMENTS_IN.stop)
        assert int.from_bytes(info[DATA_SEGMENTS_IN], sys.byteorder) == 1


# -- limits --------------------------------------------------------------------------------------------------------


def test_so_many_connections_of_one_address(environ: dict[str, str], tmp_path: Path) -> None:
    with serving(environ, tmp_path, MAX_CONNECTIONS_PER_ADDRESS="5") as service, ExitStack() as stack:
        for _ in range(5):
            held = stack.enter_context(connected(service, "127.0.0.2"))
            held.sendall(GET + b"\r\n")
            assert held.recv(65536).startswith(b"HTTP/1.1 200")
        with connected(service, "127.0.0.2") as sixth:
            answer = read_all(sixth)
        assert_refused(answer, 429, "rate_limited")
        assert b"Retry-After: 1" in answer
        assert service("GET", "/health").status_code == 200, "other addresses are not affected"
        held.close()
        eventually("room again", 20, lambda: answered(service, "127.0.0.2"))


def answered(service: Service, source: str) -> bool:
    with connected(service, source) as connection:
        connection.sendall(GET + b"Connection: close\r\n\r\n")
        return read_all(connection).startswith(b"HTTP/1.1 200")


def test_behind_a_proxy_connections_are_the_proxys(environ: dict[str, str], tmp_path: Path) -> None:
    changes = {"MAX_CONNECTIONS_PER_ADDRESS": "2", "TRUSTED_PROXIES": "1"}
    with serving(environ, tmp_path, **changes) as service, ExitStack() as stack:
        for _ in range(5):
            held = stack.enter_context(connected(service))
            held.sendall(GET + b"\r\n")
            assert held.recv(65536).startswith(b"HTTP/1.1 200")


# -- clients that wait ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The product with low limits; no worker runs."""
    with serving(environ, tmp_path_factory.mktemp("few"), app="tests.web.hasty:app", MAX_STREAMS="3") as running:
        yield running


def stream(client: Client, invocation_id: str) -> httpx.Response:
    return client.opened(f"/invocations/{invocation_id}/events")


def test_so_many_streams_and_long_polls_of_one_account(hub: Service, db: None) -> None:
    mallory, alice, tool = Client(hub.base).join(), Client(hub.base).join(), factories.tool(input_schema={}).slug
    made, others = mallory.invoke(tool, 1)["id"], alice.invoke(tool, 1)["id"]
    streams = [stream(mallory, made) for _ in range(3)]
    assert [each.status_code for each in streams] == [200] * 3
    for refused in (stream(mallory, made), mallory.call("GET", f"/invocations/{made}", 429, params={"wait": 30})):
        assert (refused.status_code, refused.json()["code"], refused.headers["Retry-After"]) == (
            429,
            "rate_limited",
            "5",
        )
    accepted = mallory.call("POST", f"/tools/{tool}/invoke", 202, json={"input": 2}, headers={"Prefer": "wait=30"})
    assert accepted.json()["data"]["status"] == "queued", "accepted without waiting"
    assert mallory.get(made)["status"] == "queued", "a request that does not wait is not counted"
    assert stream(alice, others).status_code == 200
    streams[0].close()
    eventually("a place that was left", 30, lambda: stream(mallory, made).status_code == 200)


def test_a_plan_says_how_many(hub: Service, db: None) -> None:
    customer, tool = factories.customer(), factories.tool(input_schema={})
    plans.edit(customer.plan, {"max_streams": 1}, actor=OPERATOR)
    made = customer.submit(tool, input=1)
    client = Client(hub.base)
    client.http.headers["X-API-Key"] = keys.create(customer.user_id, "streams", actor=OPERATOR)[1]
    assert [stream(client, str(made)).status_code for _ in range(2)] == [200, 429]


def test_an_answer_that_nobody_takes_is_given_up(hub: Service, db: None) -> None:
    mallory, tool = Client(hub.base).join(), factories.tool(input_schema={}).slug
    made = mallory.invoke(tool, 1)["id"]
    finish("z" * 20 * MIB)
    with ExitStack() as stack:
        for _ in range(large_reads.READS_AT_ONCE):
            stack.enter_context(unread(hub, mallory, made))
        eventually("a turn", 30, lambda: mallory.http.get(f"{mallory.api}/invocations").status_code == 200)
