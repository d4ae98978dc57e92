"""The main job over real HTTP, through real processes: from an empty installation to a settled balance."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import accumulate
from math import inf

from standardwebhooks import Webhook

from common.operations import ledger
from dev.platform import Platform
from tests.client import Client
from tests.outside.receiver import Receiver
from tests.outside.tool import Call, Tool

Offer = Callable[..., str]


def test_an_invocation_from_submit_to_balance(client: Client, offer: Offer, tool: Tool) -> None:
    slug = offer()
    before = client.tokens()

    response = client.call(
        "POST", f"/tools/{slug}/invoke", 202, json={"input": {"text": "hello"}, "metadata": {"order": "7"}},
        headers={"X-Request-ID": "flow-1"},
    )  # fmt: skip
    accepted = response.json()["data"]
    assert response.headers["Location"].endswith(f"/api/v1/invocations/{accepted['id']}")
    assert accepted["billing"].items() >= {"held": 50, "charged": 0, "outcome": "pending", "reason": None}.items()

    ended = client.ended(accepted["id"])
    assert (ended["status"], ended["output"]["echo"]) == ("succeeded", {"text": "hello"})
    assert ended["billing"].items() >= {"held": 50, "charged": 6, "outcome": "charged", "reason": None}.items()
    assert (ended["metadata"], ended["attempts"], ended["request_id"]) == ({"order": "7"}, 1, "flow-1")

    (call,) = tool.calls(accepted["id"])
    assert call.request_id == "flow-1"
    after = client.tokens()
    assert (after["granted"], after["charged"], after["held"]) == (before["granted"], 6, 0)
    assert after["available"] == before["available"] - 6
    (entry,) = client.data("GET", "/usage")
    assert (entry["invocation_id"], entry["tokens_used"], entry["status"]) == (accepted["id"], 6, "success")
    assert client.data("GET", "/usage/summary")["totals"]["tokens_used"] == 6
    assert ledger.verify().differences == ()


def test_prefer_wait_answers_with_the_end(client: Client, offer: Offer) -> None:
    response = client.call(
        "POST", f"/tools/{offer('/echo?after=300')}/invoke", 200, json={"input": {"text": "x"}},
        headers={"Prefer": "wait=20"},
    )  # fmt: skip
    assert response.json()["data"]["status"] == "succeeded"
    assert response.headers["Preference-Applied"] == "wait=20"


def test_the_end_comes_as_a_signed_webhook(client: Client, offer: Offer, receiver: Receiver) -> None:
    secret = client.webhooks.default_secret().secret
    submitted = client.invoke(offer(), {"text": "hi"}, webhook_url=f"{receiver.url}/hook")
    (received,) = receiver.wait(1, timeout=15)
    verified = Webhook(secret).verify(received.body.decode(), dict(received.headers))
    assert verified["type"] == "invocation.succeeded"
    assert (verified["data"]["id"], verified["data"]["status"]) == (submitted["id"], "succeeded")
    assert verified["data"]["output"] == client.get(submitted["id"])["output"]


def most_at_once(calls: list[Call]) -> int:
    changes = sorted(change for call in calls for change in ((call.started, 1), (call.ended or inf, -1)))
    return max(accumulate(change for _, change in changes))


def test_slow_calls_do_not_stand_in_each_others_way(hub: Platform, offer: Offer, tool: Tool) -> None:
    """200 calls of a second each, on 100 worker threads: two rounds, not two hundred."""
    client = Client(hub.url).join("enterprise")
    slug = offer("/echo?after=1000")
    with ThreadPoolExecutor(8) as pool:
        ids = [each["id"] for each in pool.map(lambda _: client.invoke(slug, {"text": "x"}), range(200))]
    ended = [client.ended(each) for each in ids]
    assert {each["status"] for each in ended} == {"succeeded"}
    assert most_at_once(tool.calls()) > 40
    assert client.tokens()["charged"] == 200 * 2


def test_an_end_wakes_whoever_waits(client: Client, offer: Offer) -> None:
    submitted = client.invoke(offer("/echo?after=700"), {"text": "x"})
    with closing(client.opened(f"/invocations/{submitted['id']}/events")) as stream:
        lines = [line for line in stream.iter_lines() if line.startswith(("event:", "id:"))]
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event:")]
    ids = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id:")]
    assert names[0] == "snapshot"
    assert names[-1] == "invocation.succeeded"
    assert ids == sorted(set(ids))
