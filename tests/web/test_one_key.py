"""One Idempotency-Key creates one invocation: over HTTP, across web processes, and if one of them is killed."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier
from typing import Any, NamedTuple
from uuid import UUID

import pytest
import requests
from sqlalchemy import text

from common import budgets, invocations
from common.identity import audit
from common.operations import ledger
from common.tools import editing
from tests import factories
from tests.budgets import world
from tests.factories import GOOD
from tests.plain import plain
from tests.web.conftest import PROCESSES, Pair, Service
from tests.web.test_bad_inputs_product import API, Caller

KEY = {"Idempotency-Key": "order-17"}
ORDER = {"input": {"text": "x"}}


@pytest.fixture
def caller(db: None, pair: Pair, hurried: None) -> Caller:
    return Caller(pair.service)


@pytest.fixture
def tool(db: None) -> str:
    """A tool that holds 10 tokens and is never called: no worker runs."""
    price = {"base_tokens": 1, "per_unit": None, "max_tokens": 10}
    entry = {"slug": "echo", "name": "Echo", "endpoint_url": "https://203.0.113.1/", "input_schema": {}, "price": price}
    return editing.create(audit.PLATFORM, editing.Draft.of(entry)).slug


# -- connections to a known process -----------------------------------------------------------------------------


def served_by(service: Service) -> dict[int, int]:
    """The process that serves each of our connections, by local port."""
    inodes = {}
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = row.split()
        here, there = (int(address.partition(":")[2], 16) for address in fields[1:3])
        if here == service.port:
            inodes[f"socket:[{fields[9]}]"] = there
    found = {}
    for pid in re.findall(r"Booting worker with pid: (\d+)", service.log.read_text()):
        with suppress(FileNotFoundError):  # one that was killed
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    found[inodes.get(str(link.readlink()), 0)] = int(pid)
    return found


def lines(service: Service, each: int) -> list[http.client.HTTPConnection]:
    """Open this many connections to each process."""
    chosen: dict[int, list[http.client.HTTPConnection]] = defaultdict(list)
    give_up = time.monotonic() + 60
    while sum(len(kept) >= each for kept in chosen.values()) < PROCESSES:
        assert time.monotonic() < give_up, (
            f"not every process serves: { ({pid: len(it) for pid, it in chosen.items()}) }"
        )
        line = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        line.request("GET", "/health")
        line.getresponse().read()
        chosen[served_by(service)[line.sock.getsockname()[1]]].append(line)
    return [line for kept in chosen.values() for line in kept[:each]]


class Told(NamedTuple):
    status: int
    id: str
    replayed: bool


def headers(caller: Caller) -> dict[str, str]:
    return {"Authorization": f"Bearer {caller.pair['access_token']}", "Content-Type": "application/json", **KEY}


def ask(line: http.client.HTTPConnection, caller: Caller, tool: str, order: dict[str, Any]) -> tuple[int, Any, Any]:
    line.request("POST", f"{API}/tools/{tool}/invoke", json.dumps(order), headers(caller))
    response = line.getresponse()
    return response.status, response.headers, json.loads(response.read())


# -- tests -------------------------------------------------------------------------------------------------------


def holds() -> int:
    return sum(name.startswith("h:") for gate in world.dumped().values() for name in gate)


def charges() -> list[tuple[UUID, int]]:
    return [(row.id, row.tokens) for row in plain(_CHARGES, {})]


_CHARGES = text("select invocation_id as id, tokens_used as tokens from usage_logs")


def test_twenty_at_once_over_two_processes_make_one(caller: Caller, tool: str, pair: Pair) -> None:
    """The first one waits before its commit until all others have arrived."""
    connections, together = lines(pair.service, 10), Barrier(20, timeout=60)
    pair.arm("web.before_commit", "sleep:1")

    def submit(line: http.client.HTTPConnection) -> Told:
        together.wait()
        status, said, body = ask(line, caller, tool, ORDER)
        return Told(status, body.get("data", body).get("id", ""), "Idempotent-Replayed" in said)

    with ThreadPoolExecutor(20) as pool:
        told = list(pool.map(submit, connections))
    made = told[0].id
    assert {(each.status, each.id) for each in told} == {(202, made)}
    assert sum(not each.replayed for each in told) == 1
    assert list(world.open_rows()) == [UUID(made)]
    assert holds() == 1
    for line in (connections[0], connections[-1]):
        status, _, problem = ask(line, caller, tool, {"input": {"text": "y"}})
        assert (status, problem["code"]) == (422, "idempotency_key_reused")
    assert len(world.open_rows()) == holds() == 1
    assert ledger.verify().differences == ()


@pytest.mark.chaos
@pytest.mark.parametrize("point", ["web.before_commit", "web.after_commit", "web.after_publish"])
def test_a_process_is_killed_and_whoever_asks_again_gets_the_one(
    caller: Caller, tool: str, pair: Pair, point: str
) -> None:
    """Eight concurrent requests, each retried when its connection breaks."""
    broken, together = [], Barrier(8, timeout=60)

    def submit(_: int) -> Told:
        together.wait()
        give_up = time.monotonic() + 60
        while True:
            url = f"{pair.service.base}{API}/tools/{tool}/invoke"
            try:
                answer = requests.post(url, json=ORDER, headers=headers(caller), timeout=60)
            except requests.ConnectionError:
                assert time.monotonic() < give_up, "no web process came back"
                broken.append(1)
                time.sleep(0.1)
            else:
                body = answer.json()
                return Told(answer.status_code, body.get("data", body).get("id", ""), False)

    pair.arm(point, "kill9")
    with ThreadPoolExecutor(8) as pool:
        told = set(pool.map(submit, range(8)))
    assert broken, "no process was killed"
    assert not (pair.failpoints / point).exists()
    ((status, made, _),) = told
    assert status == 202
    budgets.free_orphans(older_than=-1)
    assert list(world.open_rows()) == [UUID(made)]
    assert holds() == 1
    worker = factories.worker()
    invocations.complete(factories.taken(worker), GOOD, worker)
    ended = caller("POST", f"/tools/{tool}/invoke", json=ORDER, headers=KEY)
    assert (ended.status_code, ended.json()["data"]["id"]) == (200, made)
    assert charges() == [(UUID(made), 1)]
    assert holds() == len(world.open_rows()) == 0
    assert ledger.verify().differences == ()


@pytest.mark.chaos
def test_an_api_key_whose_answer_was_lost_with_its_process_is_shown_again(caller: Caller, pair: Pair) -> None:
    pair.arm("web.after_commit", "kill9")
    url, body = f"{pair.service.base}{API}/users/me/api-keys", {"name": "one"}
    with pytest.raises(requests.ConnectionError):
        requests.post(url, json=body, headers=headers(caller), timeout=60)
    give_up, answer = time.monotonic() + 60, None
    while answer is None:
        with suppress(requests.ConnectionError):
            answer = requests.post(url, json=body, headers=headers(caller), timeout=60)
        assert answer or time.monotonic() < give_up, "no web process came back"
    assert (answer.status_code, answer.headers["Idempotent-Replayed"]) == (201, "true")
    assert [key["id"] for key in caller("GET", "/users/me/api-keys").json()["data"]] == [answer.json()["data"]["id"]]
    shown = {"X-API-Key": answer.json()["data"]["key"]}
    assert requests.get(f"{pair.service.base}{API}/users/me", headers=shown, timeout=60).status_code == 200
