"""Found by the fault run: a message in the queue that was no message ended the worker process that read it."""

from __future__ import annotations

import json
from collections.abc import Callable

import psycopg
import pytest

from common.kit import redis as redis_kit
from common.queueing import messages
from common.settings import load
from dev.platform import Platform
from tests.client import Client, eventually

PICKLE = "gASVBQAAAAAAAACMAWGULg=="


def _template(**changes: object) -> str:
    """What Celery would write, with something changed."""
    message = {
        "body": "W1tdLCB7fSwge31d",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": messages.RUN_INVOCATION, "id": "x", "lang": "py", "root_id": "x", "argsrepr": "[]"},
        "properties": {
            "delivery_tag": "x",
            "delivery_info": {"exchange": "", "routing_key": "invocations"},
            "body_encoding": "base64",
        },
    }
    return json.dumps({**message, **changes})


LETTERS = [
    "not a message",
    "\x00\xff",
    "null",
    "[1, 2]",
    '{"body": "bm8=", "headers": {}}',
    '{"__type__": "datetime", "__value__": 5}',
    _template(properties={}),
    _template(body="***"),
    _template(body=PICKLE, **{"content-type": "application/x-python-serialize"}),
    _template(headers={"task": "os.system", "id": "x"}),
    _template(headers={}),
    "x" * 1_000_000,
]


@pytest.mark.chaos
def test_no_message_ends_a_worker(hub: Platform, client: Client, offer: object) -> None:
    pids = {name: child.pid for name, child in hub.supervisor.children.items()}
    broker = redis_kit.make_client(load(dict(hub.environ)).broker_url.replace("redis+socket", "unix"))
    for queue in ("invocations", "webhooks", "sweeps"):
        broker.lpush(queue, *LETTERS)
    for queue in ("invocations", "webhooks", "sweeps"):
        eventually(f"{queue} to drain", 60, lambda queue=queue: broker.llen(queue) == 0)
    slug = offer("/echo")  # type: ignore[operator]
    assert client.ended(client.invoke(slug, {"text": "on"})["id"])["status"] == "succeeded"
    assert {name: child.pid for name, child in hub.supervisor.children.items()} == pids
    with psycopg.connect(hub.environ["DATABASE_URL"]) as connection:
        row = connection.execute(
            "select count(*) from processes where heartbeat_at > now() - interval '5 s'"
        ).fetchone()
    assert row == (len(pids) - 1,)


def test_a_message_is_gone_when_it_is_read(hub: Platform, client: Client, offer: Callable[..., str]) -> None:
    """Nothing is noted of it as unacknowledged: whoever dies with it in hand is found by the row's lease."""
    broker = redis_kit.make_client(load(dict(hub.environ)).broker_url.replace("redis+socket", "unix"))

    def waits() -> bool:
        return any(each["cmd"] == "blpop" and "b" in each["flags"] for each in broker.client_list())

    def noted() -> int:
        """Without the waits for a wake-up that are over."""
        used = broker.info("commandstats")
        return int(used.get("cmdstat_zadd", {}).get("calls", 0)) - int(used.get("cmdstat_blpop", {}).get("calls", 0))

    eventually("nobody to wait", 20, lambda: not waits())
    slug, before = offer("/echo"), noted()
    for _ in range(3):
        assert client.ended(client.invoke(slug, {"text": "on"})["id"])["status"] == "succeeded"
    eventually("nothing more to be noted than there was", 20, lambda: noted() == before)
