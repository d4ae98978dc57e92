"""JSON keeps the order of keys and the form of numbers, wherever it is shown or sent."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest

from tests.admin.conftest import Admin
from tests.client import Client
from tests.outside.receiver import Receiver
from tests.outside.tool import Tool

FREE = {"base_tokens": 0, "max_tokens": 0}
VALUES = [
    '{"zeta":1,"b":2,"alpha":{"reasoning":{},"answer":{}}}',
    '{"one":1.0,"big":1e22,"small":1e-7,"exponent":100.0,"minus":-0.0,"n":123456789012345678901234567890,"x":1e308}',
    '[{"bb":1,"a":[{"y":1,"x":2.0}]},"text",null,true,1e16]',
    '{"schlüssel":1,"aa":{"ключ":2,"z":3},"":4}',
    '{"a":1,"bb":2}',
    "1e20",
]


def tool_of(admin: Admin, tool: Tool, path: str, **more: Any) -> dict[str, Any]:
    entry = {"slug": "ordered", "name": "O", "endpoint_url": f"{tool.url}{path}", "input_schema": {}, "price": FREE}
    return dict(admin.data("POST", "/admin/tools", 201, json={**entry, "idempotent": True, **more}))


def text(value: Any) -> str:
    """JSON text that shows the order of keys and the form of numbers."""
    return json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize("sent", VALUES)
def test_input_and_output_are_what_was_sent(
    admin: Admin, client: Client, tool: Tool, receiver: Receiver, sent: str
) -> None:
    answer = f'{{"zz":{sent},"a":1.0,"b":{sent}}}'
    tool_of(admin, tool, f"/garbage?{urlencode({'body': answer})}")
    value, output = json.loads(sent), text(json.loads(answer))
    labels = {"zebra": "1", "b": "2", "alpha": "3"}
    body = f'{{"input":{sent},"metadata":{json.dumps(labels)},"webhook_url":"{receiver.url}/hook"}}'
    headers = {"Content-Type": "application/json"}
    accepted = client.data("POST", "/tools/ordered/invoke", 202, content=body.encode(), headers=headers)
    ended = client.ended(accepted["id"])
    (call,) = tool.calls(ended["id"])
    assert text(call.body) == text(value)
    events = client.call("GET", f"/invocations/{ended['id']}/events").text
    shown = {
        "accepted": accepted,
        "ended": ended,
        "listed": client.data("GET", "/invocations")[0],
        "for admins": admin.data("GET", "/admin/invocations")[0],
        "webhook": json.loads(receiver.wait(1)[0].body)["data"],
        "stream": json.loads(events.partition("\ndata: ")[2].partition("\n")[0]),
    }
    for where, one in shown.items():
        assert text(one["input"]) == text(value), where
        assert text(one["metadata"]) == text(labels), where
        assert where == "accepted" or text(one["output"]) == output, where
    trial = admin.data("POST", f"/admin/tools/{client.data('GET', '/tools/ordered')['id']}/test", content=body_of(sent),
                       headers=headers)  # fmt: skip
    assert text(trial["output"]) == output
    assert text(tool.calls()[-1].body) == text(value)


def body_of(value: str) -> bytes:
    return f'{{"input":{value}}}'.encode()


def test_the_feed_of_events_too(admin: Admin, client: Client, tool: Tool, receiver: Receiver) -> None:
    tool_of(admin, tool, "/echo")
    client.call("POST", "/webhooks", 201, json={"url": f"{receiver.url}/all", "events": ["completed"]})
    client.ended(client.invoke("ordered", {"zeta": 1.0, "b": 1})["id"])
    for data in (client.data("GET", "/events")[-1]["data"], json.loads(receiver.wait(1)[0].body)["data"]):
        assert text(data["output"]) == '{"echo": {"zeta": 1.0, "b": 1}, "units": 1}'


def test_a_question_to_a_tool_by_get_is_in_order(admin: Admin, client: Client, tool: Tool) -> None:
    tool_of(admin, tool, "/echo", method="GET")
    ended = client.ended(client.invoke("ordered", {"zeta": 1.0, "b": 2, "alpha": 1.5})["id"])
    (call,) = tool.calls(ended["id"])
    assert text(call.body) == '{"zeta": "1.0", "b": "2", "alpha": "1.5"}'


SCHEMA = '{"type":"object","properties":{"reasoning":{"type":"string"},"answer":{"maximum":1.0}},"required":["answer"]}'


def test_schemas_and_examples_are_what_was_sent(admin: Admin, client: Client, tool: Tool) -> None:
    schema, example = json.loads(SCHEMA), {"reasoning": "so", "answer": 1.0}
    made = tool_of(admin, tool, "/echo", input_schema=schema, output_schema={"title": "x", "not": {"z": 1, "a": 1e22}},
                   example_input=example)  # fmt: skip
    path = f"/admin/tools/{made['id']}"
    listed = admin.data("GET", "/admin/tools")[0]
    for shown in (made, admin.data("GET", path), client.data("GET", "/tools/ordered"), listed):
        assert text(shown["input_schema"]) == text(schema)
        assert text(shown["output_schema"]) == '{"title": "x", "not": {"z": 1, "a": 1e+22}}'
        assert text(shown["example_input"]) == text(example)
    (entry,) = admin.done_to(made["id"])
    assert text(entry["after"]["input_schema"]) == text(schema)
    assert admin.data("PATCH", path, json={"input_schema": schema})["version"] == 1
    other = json.loads('{"required":["answer"],"type":"object"}')
    for version, changed in enumerate(
        ({"type": "object", **other}, other, {"const": 1}, {"const": 1.0}, {"const": True}), 2
    ):
        edited = admin.data("PATCH", path, json={"input_schema": changed})
        assert (edited["version"], text(edited["input_schema"])) == (version, text(changed))  # fmt: skip


def test_a_repeat_is_one_whatever_the_order(admin: Admin, client: Client, tool: Tool) -> None:
    tool_of(admin, tool, "/echo")
    first = client.invoke("ordered", {"b": 1, "a": {"d": 1, "c": 2}}, idempotency_key="one")
    again = client.invoke("ordered", {"a": {"c": 2, "d": 1}, "b": 1}, idempotency_key="one")
    assert again["id"] == first["id"]
    assert text(again["input"]) == text(first["input"])


def test_what_is_forgotten_is_forgotten_twice(admin: Admin, client: Client, tool: Tool, database_url: str) -> None:
    """Also by code that does not know about the text beside the value."""
    tool_of(admin, tool, "/echo")
    ids = [client.ended(client.invoke("ordered", {"zeta": "secret", "b": 1})["id"])["id"] for _ in range(2)]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update invocations set input = null, output = null where id = %s", ids[:1])
        columns = "input, output, input_as_sent, output_as_sent"
        left = connection.execute(f"select {columns} from invocations where id = %s", ids[:1]).fetchone()
        assert left == (None,) * 4
        for wrong in ("input_as_sent = '1'", "output_as_sent = '{}'", "metadata_as_sent = '{}'"):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
                connection.execute(f"update invocations set {wrong} where id = %s", ids[1:])
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            connection.execute("delete from invocations where id = %s", ids[1:])
    assert client.get(ids[0])["input"] is client.get(ids[0])["output"] is None
