"""Others go on while a web process computes for long: it does so in pieces, one large value at a time."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import text

from common import invocations
from common.invocations import Completion, hashing
from common.kit import db as kit
from common.kit.pieces import STEPS
from common.settings import Settings
from tests import factories
from tests.client import PASSWORD, Client, eventually
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
    assert quoted[2] - quoted[1] >= steps * MANY // STEPS - 5


def test_so_is_an_output_for_its_receipt(hub: Service, db: None) -> None:
    alice, slug = Client(hub.base).join(), factories.tool(input_schema={}).slug
    made = alice.invoke(slug, 1)["id"]
    finish([{"a": 1e16}] * (MANY // 2))
    first, again = (switches(alice, "GET", f"/invocations/{made}/receipt") for _ in range(2))
    assert first >= (1 + 1 + 7) * MANY // 2 // STEPS
    assert again < first // 4, "it is stored"


#: What stands for one entry of the usage log in many, for another end user or key in each.
COPIED = {
    "id": "uuid7()",
    "invocation_id": "uuid7()",
    "end_user": "'user ' || g",
    "api_key_id": "gen_random_uuid()",
    "xid": "pg_current_xact_id()",
    "tokens_used": "g",
    "held": "g",
}
GROUPS = 6_000


@pytest.fixture
def many(hub: Service, db: None) -> Client:
    """An account that has used the platform for very many end users, by as many keys."""
    alice, slug = Client(hub.base).join(), factories.tool(input_schema={}).slug
    alice.invoke(slug, 1)
    finish(1)
    columns = text(
        "select attname from pg_attribute where attrelid = 'usage_logs'::regclass and attnum > 0 and not attisdropped"
    )
    with kit.transaction() as session:
        names = [name for (name,) in session.execute(columns)]
        values = ", ".join(COPIED.get(name, name) for name in names)
        copy = f"insert into usage_logs ({', '.join(names)}) select {values} from usage_logs, generate_series(1, :n) g"
        session.execute(text(copy), {"n": GROUPS})
    return alice


@pytest.mark.parametrize("by", ["end_user", "api_key"])
def test_usage_in_very_many_groups(many: Client, by: str) -> None:
    """The largest are listed, the others are one; sums are exact. Others run while they are added up."""
    answer = many.call("GET", "/usage/summary", params={"group_by": by})
    found = answer.json()["data"]
    assert [group["tokens_used"] for group in found["groups"]] == [GROUPS - n for n in range(1_000)]
    assert (found["rest"]["groups"], found["rest"]["tokens_used"]) == (GROUPS - 999, 1 + sum(range(GROUPS - 999)))
    assert found["totals"]["invocations"] == found["rest"]["invocations"] + 1_000 == GROUPS + 1
    assert int(answer.headers["X-Switches"]) > 3 * GROUPS * 4 // STEPS + GROUPS // 200


def test_usage_in_very_many_groups_on_a_page(hub: Service, many: Client) -> None:
    with httpx.Client(base_url=hub.base, headers={"Sec-Fetch-Site": "same-origin"}, timeout=60) as browser:
        browser.post("/console/sign-in", data={"email": many.email, "password": PASSWORD})
        page = browser.get("/console/usage?by=key")
    assert f"{GROUPS - 14:,}".replace(",", "") in page.text.replace(",", "").replace("\N{NARROW NO-BREAK SPACE}", "")
    assert f"{GROUPS - 4} others" in page.text
    assert int(page.headers["X-Switches"]) > 3 * GROUPS * 4 // STEPS + GROUPS // 200


def answered(client: Client, path: str, output: object, **body: object) -> httpx.Response:
    """A repeat of a call of `/v1` that has ended so."""
    adapter = "embeddings" if path == "/embeddings" else "chat_completion"
    tool = factories.tool(input_schema={}, adapter=adapter, price={"base_tokens": 1, "max_tokens": 10})
    sent = {"model": tool.slug, **body}

    def post() -> httpx.Response:
        url, once = f"{client.api.removesuffix('/api/v1')}/v1{path}", {"Idempotency-Key": "once"}
        return client.http.post(url, json=sent, headers=once).raise_for_status()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post)
        eventually("it is queued", 20, lambda: client.data("GET", "/invocations"))
        finish(output)
        first.result(30)
    return post()


def packed(count: int) -> str:
    return base64.b64encode(struct.pack(f"<{count}f", *[0.5] * count)).decode()


@pytest.mark.parametrize(
    ("output", "encoding", "steps"),
    [
        ({"data": [{"embedding": packed(MANY)}]}, "float", 1),
        ({"data": [{"embedding": packed(1_000)}] * 50}, "float", 1),
        ({"data": [{"embedding": [0.5] * 1_000}] * 50}, "base64", 2),
    ],
    ids=["one vector", "encoded vectors", "vectors"],
)
def test_embeddings_are_converted_in_pieces(
    hub: Service, db: None, output: dict[str, list[dict[str, object]]], encoding: str, steps: int
) -> None:
    alice = Client(hub.base).join()
    answer = answered(alice, "/embeddings", output, input="x", encoding_format=encoding)
    vector = answer.json()["data"][0]["embedding"]
    expected = output["data"][0]["embedding"]
    assert vector == ([0.5] * len(vector) if encoding == "float" else packed(len(expected)))  # type: ignore[arg-type]
    assert int(answer.headers["X-Switches"]) >= steps * MANY // STEPS


def test_so_are_the_answers_of_chat_models(hub: Service, db: None) -> None:
    alice = Client(hub.base).join()
    message = {"role": "assistant", "content": "yes"}
    output = {"choices": [{"index": 0, "message": message}], "logprobs": [{"p": 0.5}] * MANY}
    answer = answered(alice, "/chat/completions", output, messages=[])
    assert answer.json()["choices"][0]["message"] == message
    assert int(answer.headers["X-Switches"]) >= 2 * MANY // STEPS


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
