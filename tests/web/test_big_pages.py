"""Lists with large inputs and outputs: every page ends at 1 MiB, what is not shown is not read, and accounts do not
block each other.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask, Response, g
from sqlalchemy import text

from common import invocations
from common.invocations import Completion
from common.kit import db as database
from common.kit.paging import MAX_PAYLOAD_BYTES, Window
from common.settings import Settings
from tests import factories
from tests.admin.conftest import Admin
from tests.client import Client, Json
from tests.queue.proxy import Proxy
from tests.timing import Stepped, using
from tests.web.conftest import Service, serving
from web.http import large_reads

MIB = MAX_PAYLOAD_BYTES
THIRD = "x" * 300_000


@pytest.fixture(scope="module")
def hub(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One web process of the product; no worker runs."""
    with serving(environ, tmp_path_factory.mktemp("pages"), app="wsgi:app") as running:
        yield running


@pytest.fixture
def echo(db: None) -> str:
    return factories.tool(input_schema={}).slug


@pytest.fixture
def alice(hub: Service, db: None) -> Client:
    return Client(hub.base).join()


def finish(*outputs: Any) -> None:
    """Complete everything that is due, oldest first, each with the next output."""
    me = replace(factories.worker(), take_next=False)
    for output in outputs:
        task = factories.taken(me)
        invocations.complete(task, Completion("succeeded", output, 1, http_status=200, duration_ms=1), me)


def pages(client: Client, path: str, **params: Any) -> list[list[Json]]:
    """All pages, by following the cursors."""
    found: list[list[Json]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = client.call("GET", path, params={"limit": 100, **params, **cursor})
        page = answer.json()
        found.append(page["data"])
        assert page["meta"]["has_more"] == ('rel="next"' in answer.headers.get("Link", ""))
        if not page["meta"]["has_more"]:
            return found
        assert len(found) < 50
        cursor = {"cursor": page["meta"]["next_cursor"]}


def payload(shown: Json) -> int:
    return len(json.dumps([shown["input"], shown["output"]]))


# -- the lists -----------------------------------------------------------------------------------------------------


def test_a_page_of_inputs_ends_at_a_mebibyte(alice: Client, echo: str) -> None:
    made = [alice.invoke(echo, THIRD)["id"] for _ in range(7)]
    found = pages(alice, "/invocations")
    assert [len(page) for page in found] == [3, 3, 1]
    assert [it["id"] for page in found for it in page] == list(reversed(made))
    assert all(sum(map(payload, page)) <= MIB for page in found)
    assert [len(page) for page in pages(alice, "/invocations", limit=2)] == [2, 2, 2, 1], "the limit still holds"
    assert [len(page) for page in pages(alice, "/invocations", status="queued")] == [3, 3, 1]


def test_an_output_larger_than_a_page_has_one_of_its_own(alice: Client, echo: str) -> None:
    made = [alice.invoke(echo, n)["id"] for n in range(4)]
    finish("small", "y" * 3 * MIB, "small", "small")
    found = pages(alice, "/invocations")
    assert [[it["id"] for it in page] for page in found] == [[made[3], made[2]], [made[1]], [made[0]]]
    assert len(found[1][0]["output"]) == 3 * MIB


def test_what_compresses_well_counts_as_it_is_sent(alice: Client, echo: str) -> None:
    """Compressible: PostgreSQL stores it in a few kilobytes."""
    for _ in range(4):
        alice.invoke(echo, [{"a": 1}] * 50_000)
    assert [len(page) for page in pages(alice, "/invocations")] == [2, 2]


def test_rows_from_before_are_measured(alice: Client, echo: str) -> None:
    for _ in range(4):
        alice.invoke(echo, THIRD)
    database.rowcount(text("update invocations set input_bytes = null"), {})
    assert [len(page) for page in pages(alice, "/invocations")] == [3, 1]


def test_without_payloads_a_page_has_as_many_as_ever(alice: Client, echo: str) -> None:
    for _ in range(5):
        alice.invoke(echo, THIRD)
    answer = alice.call("GET", "/invocations", params={"payloads": "false"})
    assert len(answer.json()["data"]) == 5
    assert not answer.json()["meta"]["has_more"]
    assert all({"input", "output"}.isdisjoint(it) for it in answer.json()["data"])
    assert len(answer.content) < 10_000
    assert alice.call("GET", "/invocations", 422, params={"payloads": "maybe"}).json()["errors"]


def test_admins_read_in_the_same_pages(hub: Service, alice: Client, echo: str) -> None:
    admin = Admin(hub.base).join()
    for _ in range(4):
        alice.invoke(echo, THIRD)
    assert [len(page) for page in pages(admin, "/admin/invocations")] == [3, 1]
    assert [len(page) for page in pages(admin, "/admin/invocations", payloads="false")] == [4]


def test_the_feed_of_events_ends_its_pages_too(alice: Client, echo: str) -> None:
    made = [alice.invoke(echo, THIRD)["id"] for _ in range(4)]
    finish("small", "y" * 2 * MIB, "small", "small")
    found = pages(alice, "/events")
    assert all(len(page) == 1 or sum(payload(event["data"]) for event in page) <= MIB for page in found)
    told = [(event["type"], event["data"]["id"]) for page in found for event in page]
    assert len(told) == len({*told}) == 12
    assert {it for _, it in told} == {*made}
    [light] = pages(alice, "/events", payloads="false")
    assert [(event["type"], event["data"]["id"]) for event in light] == told
    assert all({"input", "output"}.isdisjoint(event["data"]) for event in light)


def test_repeats_in_a_batch_show_no_more_than_a_page_would(alice: Client, echo: str) -> None:
    items = [{"tool": echo, "input": n, "idempotency_key": f"key-{n}"} for n in range(5)]
    alice.call("POST", "/invocations/batch", 207, json={"items": items})
    finish("y" * 3 * MIB, *["y" * 400_000] * 4)
    answer = alice.call("POST", "/invocations/batch", 207, json={"items": items})
    assert len(answer.content) < 4 * MIB
    shown = [item["invocation"] for item in answer.json()["data"]]
    assert [it["status"] for it in shown] == ["succeeded"] * 5
    assert ["output" in it for it in shown] == [True, False, False, False, False]
    [one] = alice.data("POST", "/invocations/batch", 207, json={"items": items[1:2]})
    assert len(one["invocation"]["output"]) == 400_000


# -- what is read --------------------------------------------------------------------------------------------------


@pytest.fixture
def read(db: None, settings: Settings) -> Iterator[Callable[[], int]]:
    """Bytes that PostgreSQL has sent to this process since the last call."""

    def total() -> int:
        sent, proxy.sent = proxy.sent, 0
        return sent

    with Proxy(settings.database_url) as proxy:
        database.connect(proxy.url, pool_size=5, application_name="test", shared=settings.shares_connections)
        yield total
        database.connect(
            settings.database_url, pool_size=20, application_name="test", shared=settings.shares_connections
        )


def test_no_more_is_read_than_is_shown(read: Callable[[], int]) -> None:
    customer, tool = factories.customer(), factories.tool(input_schema={})
    for _ in range(6):
        customer.submit(tool, input=THIRD)
    read()
    invocations.listing(customer.user_id, Window(100))
    assert read() < 1.1 * MIB
    invocations.listing(customer.user_id, Window(100), payloads=False)
    assert read() < 10_000


def test_who_waits_reads_nothing_before_the_end(read: Callable[[], int]) -> None:
    customer, tool = factories.customer(), factories.tool(input_schema={})
    made = [customer.submit(tool, input=THIRD) for _ in range(6)]
    read()
    assert {*invocations.states(made).values()} == {("queued", 0)}
    waiting = invocations.get_ended(made[0], customer.user_id)
    assert (waiting.status, waiting.input, read() < 10_000) == ("queued", None, True)
    finish("done")
    assert json.loads(invocations.get_ended(made[0], customer.user_id).input or "") == THIRD
    assert invocations.states(made)[made[0]] == ("succeeded", 1)


# -- concurrent reads ----------------------------------------------------------------------------------------------


def unread(hub: Service, client: Client, invocation_id: UUID | str) -> socket.socket:
    """Request an invocation without reading the response."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", hub.port))
    head = f"GET /api/v1/invocations/{invocation_id} HTTP/1.1\r\nHost: x\r\n"
    tokens = client.login.store.read()
    assert tokens is not None
    connection.sendall(f"{head}Authorization: Bearer {tokens.access_token}\r\n\r\n".encode())
    assert connection.recv(15, socket.MSG_PEEK) == b"HTTP/1.1 200 OK"
    return connection


def test_answers_that_nobody_takes_stop_their_own_account_only(hub: Service, alice: Client, echo: str) -> None:
    mallory = Client(hub.base).join()
    made = mallory.invoke(echo, 1)["id"]
    finish("z" * 20 * MIB)
    with ExitStack() as stack:
        for _ in range(large_reads.READS_AT_ONCE):
            stack.enter_context(unread(hub, mallory, made))
        refused = mallory.call("GET", "/invocations", 429)
        assert (refused.json()["code"], refused.headers["Retry-After"]) == ("rate_limited", "1")
        mallory.call("GET", f"/invocations/{made}", 429)
        mallory.call("GET", "/usage/summary", 429)
        mallory.invoke(echo, 2)
        assert alice.data("GET", "/invocations") == []
    assert mallory.call("GET", f"/invocations/{made}").json()["data"]["id"] == made


def test_many_reads_at_once_are_all_answered(alice: Client, echo: str) -> None:
    for _ in range(6):
        alice.invoke(echo, THIRD)
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: alice.http.get(f"{alice.api}/invocations?limit=100").status_code, range(40)))
    assert answers == [200] * 40


@pytest.mark.parametrize(("items", "size", "cost"), [(100, 50_000, 254_800), (0, 50_000, 0), (100, 100_000, 304_800)])
def test_each_item_of_a_list_counts(items: int, size: int, cost: int) -> None:
    """A hundred small ones take as much CPU time as a large one. What is small and no list costs nothing."""
    account, app = uuid4(), Flask(__name__)
    with using(stepped := Stepped()), app.test_request_context():
        g.caller = SimpleNamespace(user_id=account)
        large_reads.begin()
        large_reads.count(items)
        response = Response(b"x" * size)
        large_reads.end_after(response)
        response.close()
        known = large_reads._pacer._accounts.get(account)
        due = 0.0 if known is None else known.even_at - stepped.now  # who owes nothing is forgotten
        assert due == pytest.approx(cost / large_reads.BYTES_PER_SECOND)
