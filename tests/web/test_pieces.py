"""Others go on while a web process computes for long: it does so in pieces, one large value at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from common import invocations
from common.invocations import Completion, hashing
from common.kit.pieces import STEPS
from common.settings import Settings
from tests import factories
from tests.client import Client
from tests.web.conftest import Service, serving
from web.app import create_app

#: Values of a large input.
MANY = 50_000


@pytest.fixture(scope="module")
def hub(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(environ, tmp_path_factory.mktemp("pieces"), app="tests.web.switches:app") as running:
        yield running


def switches(client: Client, method: str, path: str, body: bytes | None = None) -> int:
    headers = {"Content-Type": "application/json"}
    return int(client.call(method, path, content=body, headers=headers).headers["X-Switches"])


def finish(output: object) -> None:
    me = replace(factories.worker(), take_next=False)
    done = Completion("succeeded", output, 1, http_status=200, duration_ms=1)
    invocations.complete(factories.taken(me), done, me)


@pytest.mark.parametrize(("number", "steps"), [("1e16", 7), ("9007199254740994", 7), ("7", 1)])
def test_an_input_is_hashed_in_pieces(hub: Service, db: None, number: str, steps: int) -> None:
    """Numbers that orjson writes in another way take seven times as long as others."""
    alice, slug = Client(hub.base).join(), factories.tool(input_schema={}).slug
    few, many = (f'{{"input":[{",".join([number] * count)}]}}'.encode() for count in (1, MANY))
    quoted = [switches(alice, "POST", f"/tools/{slug}/quote", body) for body in (few, few, many)]
    assert quoted[2] - quoted[1] >= steps * MANY // STEPS


def test_so_is_an_output_for_its_receipt(hub: Service, db: None) -> None:
    alice, slug = Client(hub.base).join(), factories.tool(input_schema={}).slug
    made = alice.invoke(slug, 1)["id"]
    finish([{"a": 1e16}] * (MANY // 2))
    first, again = (switches(alice, "GET", f"/invocations/{made}/receipt") for _ in range(2))
    assert first >= (1 + 1 + 7) * MANY // 2 // STEPS
    assert again < first // 4, "it is stored"


def test_large_inputs_are_hashed_one_at_a_time(db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "WAIT_SECONDS", 0.01)
    alice, tool = factories.keyed(factories.customer(), 1_000_000), factories.tool(input_schema={})
    http, headers = create_app(settings).test_client(), {"X-API-Key": alice.key}

    def status(count: int) -> int:
        body = {"input": [1] * count}
        return http.post(f"/api/v1/tools/{tool.slug}/quote", json=body, headers=headers).status_code

    with hashing.turns.turn(factories.user().user_id, 0):
        assert [status(hashing.SMALL_BYTES), status(1)] == [503, 200]
    assert status(hashing.SMALL_BYTES) == 200
