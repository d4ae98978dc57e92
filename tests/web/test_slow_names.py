"""Name servers that never respond: creating resources resolves no names, and hanging look-ups block no request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.admin.conftest import Admin
from tests.client import PASSWORD, Client, eventually
from tests.outside.nameserver import NameServer
from tests.web.conftest import Service, serving

ENDPOINTS = 20


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with NameServer() as server:
        yield server


@pytest.fixture(scope="module")
def hub(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory, names: NameServer) -> Iterator[Service]:
    """One web process of the product, whose only name server never responds."""
    with serving(environ, tmp_path_factory.mktemp("slow"), app="wsgi:app", OUTBOUND_DNS=names.setting) as running:
        yield running


def slow(n: int) -> str:
    return f"https://n{n}.slow.example.com/hook"


def test_no_name_is_looked_up_at_creation(hub: Service, db: None, offer: Callable[..., str], names: NameServer) -> None:
    tool, mallory = offer(), Client(hub.base).join("pro")
    order = {"input": {"text": "x"}}
    for n in range(5):
        mallory.invoke(tool, {"text": "x"}, webhook_url=slow(n))
    items = [{"tool": tool, **order, "webhook_url": slow(100 + n)} for n in range(100)]
    assert {item["status"] for item in mallory.data("POST", "/invocations/batch", 207, json={"items": items})} == {202}
    made = mallory.data("POST", "/webhooks", 201, json={"url": slow(200)})
    mallory.call("PATCH", f"/webhooks/{made['id']}", json={"url": slow(201)})
    admin = Admin(hub.base).join()
    draft = {"slug": "slow", "name": "Slow", "input_schema": {}, "price": {"base_tokens": 1, "max_tokens": 1}}
    offered = admin.data("POST", "/admin/tools", 201, json={**draft, "endpoint_url": slow(300)})
    admin.call("PATCH", f"/admin/tools/{offered['id']}", json={"endpoint_url": slow(301)})
    assert names.asked == []


def test_logins_go_on_while_look_ups_hang(hub: Service, db: None, names: NameServer) -> None:
    mallory, alice = Client(hub.base).join(), Client(hub.base).join()
    made = [mallory.data("POST", "/webhooks", 201, json={"url": slow(n)})["id"] for n in range(ENDPOINTS)]
    credentials, logins = {"email": alice.email, "password": PASSWORD}, 0
    with ThreadPoolExecutor(ENDPOINTS) as pool:
        tests = [pool.submit(Client.data, mallory, "POST", f"/webhooks/{endpoint}/test") for endpoint in made]
        eventually("hanging look-ups", 10, lambda: names.asked)
        while not any(test.done() for test in tests):
            alice.call("POST", "/auth/login", json=credentials)
            logins += 1
        attempts = [test.result() for test in tests]
    assert logins > 1, "a login waited for a DNS look-up"
    assert {attempt["error"] for attempt in attempts} == {"No connection could be made."}
