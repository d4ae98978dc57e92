"""Tools that cost nothing, and answers at the ends of what JSON and HTTP can say."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.admin.conftest import Admin, Catalogue
from tests.client import Client, Json
from tests.outside.receiver import Receiver, Reply
from tests.outside.tool import Tool

HUGE = "1" + "0" * 400
LONG = "123456789012345678901234567890"
SECRET = "Zm9vYmFyYmF6cXV4a2V5MTIz" * 4
NEVER = ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2027 00:00:00 +99999999999999"]


def model(catalogue: Catalogue, *, streamed: bool, usage: str, extra: str = "1") -> Json:
    """A chat model that reports this usage, and has one more number in its message."""
    price = {"base_tokens": 1, "per_unit": {"pointer": "/usage/total_tokens", "tokens": 1, "unit": "token"}}
    choice = f'"index":0,"finish_reason":"stop","MESSAGE":{{"role":"assistant","content":"hi","seed":{extra}}}'
    body = f'{{"choices":[{{{choice}}}],"usage":{usage}}}'
    query = {"body": body.replace("MESSAGE", "message")}
    if streamed:
        query = {"body": f"data: {body.replace('MESSAGE', 'delta')}\n\ndata: [DONE]\n\n", "is": "text/event-stream"}
    fields: Json = {"adapter": "chat_completion", "streaming": streamed, "price": {**price, "max_tokens": 10}}
    return catalogue.add("/garbage/chat/completions", query, **fields)


def chat(client: Client, tool: Json, **more: Any) -> str:
    """The text that `/v1` answers, whole or streamed."""
    key = client.data("POST", "/users/me/api-keys", 201, json={"name": "k"})["key"]
    url, headers = client.api.replace("/api/v1", "/v1/chat/completions"), {"Authorization": f"Bearer {key}"}
    answer = client.http.post(url, json={"model": tool["slug"], "messages": [], **more}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_a_free_tool_gives_its_slot_back(catalogue: Catalogue, client: Client) -> None:
    tool = catalogue.add("/echo")
    key = client.data("POST", "/users/me/api-keys", 201, json={"name": "k", "max_concurrency": 1})["key"]
    path, headers = f"/tools/{tool['slug']}/invoke", {"Authorization": f"Bearer {key}", "Prefer": "wait=10"}
    calls = [client.data("POST", path, (200, 202), json={"input": {}}, headers=headers) for _ in range(3)]
    assert [call["status"] for call in calls] == ["succeeded"] * 3


def test_more_units_than_a_double_can_hold_are_charged_as_the_most(
    catalogue: Catalogue, client: Client, receiver: Receiver
) -> None:
    hook = {"url": f"{receiver.url}/hook", "events": ["completed"], "include": ["receipt"]}
    client.call("POST", "/webhooks", 201, json=hook)
    price = {"base_tokens": 1, "per_unit": {"pointer": "/n", "tokens": 1, "unit": "token"}, "max_tokens": 1000}
    ended, trial = catalogue.both(catalogue.add(query={"body": f'{{"n":{HUGE}}}'}, price=price))
    assert (ended["status"], ended["billing"]["charged"], trial["tokens"]) == ("succeeded", 1000, 1000)
    assert ended["billing"]["units"] == sys.float_info.max
    receipt = client.data("GET", f"/invocations/{ended['id']}/receipt")
    assert receipt["claims"]["units"] == sys.float_info.max
    sent = json.loads(receiver.wait(1)[0].body)["data"]
    assert (sent["billing"], sent["output"]) == ({**ended["billing"], "receipt": receipt["receipt"]}, {"n": int(HUGE)})


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "usage",
    [f'{{"total_tokens":{HUGE}}}', f'{{"prompt_tokens":{HUGE},"completion_tokens":{HUGE}}}'],
    ids=["total", "sum"],
)
def test_a_chat_with_such_units_is_answered(
    catalogue: Catalogue, client: Client, admin: Admin, streamed: bool, usage: str
) -> None:
    tool = model(catalogue, streamed=streamed, usage=usage)
    told = chat(client, tool, stream=streamed, **({"stream_options": {"include_usage": True}} if streamed else {}))
    assert '"charged":10' in told.replace(" ", "")
    assert "error" not in told
    if not streamed:
        trial = admin.data("POST", f"/admin/tools/{tool['id']}/test", json={"input": {"messages": []}})
        assert (trial["status"], trial["tokens"]) == ("succeeded", 10)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("number", [LONG, "-" + LONG, HUGE], ids=["long", "negative", "huge"])
def test_an_integer_keeps_its_digits(catalogue: Catalogue, client: Client, streamed: bool, number: str) -> None:
    tool = model(catalogue, streamed=streamed, usage='{"total_tokens":3}', extra=number)
    assert f'"seed":{number}' in chat(client, tool, stream=streamed).replace(" ", "")


def test_an_integer_that_takes_long_to_read_is_refused(catalogue: Catalogue, client: Client) -> None:
    number = "-" + "9" * 501
    ended, _ = catalogue.both(catalogue.add(query={"body": f'{{"n":[{number}]}}'}))
    assert (ended["status"], ended["error"]["code"]) == ("failed", "tool_bad_response")
    assert ended["error"]["detail"] == "The response has a number with too many digits."
    path, headers = f"/tools/{catalogue.add()['slug']}/invoke", {"Content-Type": "application/json"}
    refused = client.call("POST", path, 400, content=f'{{"input":[{number}]}}', headers=headers).json()
    assert refused["code"] == "malformed_json"
    taken = client.data("POST", path, 202, content=f'{{"input":[{number[:-1]}]}}', headers=headers)
    assert number[:-1] in client.call("GET", f"/invocations/{taken['id']}").text


@pytest.mark.parametrize("number", [LONG, HUGE], ids=["long", "huge"])
def test_an_integer_of_a_large_document_keeps_its_digits(admin: Admin, tool: Tool, number: str) -> None:
    content = f'{{"application/json":{{"schema":{{"type":"object"}},"example":{{"n":{number}}}}}}}'
    responses = '{"200":{"description":"x","content":{"application/json":{"schema":{"type":"object"}}}}}'
    operation = f'{{"operationId":"a","requestBody":{{"content":{content}}},"responses":{responses}}}'
    info = f'{{"title":"t","version":"1","description":"{"x" * 70_000}"}}'
    paths = f'{{"/a":{{"post":{operation}}}}}'
    document = f'{{"openapi":"3.1.0","info":{info},"servers":[{{"url":"{tool.url}"}}],"paths":{paths}}}'
    headers = {"Content-Type": "application/json"}
    answer = admin.call("POST", "/admin/tools/import", content=f'{{"document":{document}}}', headers=headers)
    assert f'"n":{number}' in answer.text.replace(" ", "")


@pytest.mark.parametrize("moment", NEVER)
def test_a_moment_that_no_clock_shows_is_no_moment(
    catalogue: Catalogue, client: Client, admin: Admin, receiver: Receiver, moment: str
) -> None:
    query = {"status": 503, "retry_after": moment}
    ended = client.ended(client.invoke(catalogue.add("/fail", {**query, "times": 1}, max_attempts=3)["slug"], {})["id"])
    assert (ended["status"], ended["attempts"]) == ("succeeded", 2)
    tool = catalogue.add("/fail", query)
    trial = admin.data("POST", f"/admin/tools/{tool['id']}/test", json={"input": {}})
    assert trial["error"] == {"code": "tool_failed", "detail": "The tool answered 503: told to fail"}
    receiver.always("/busy", Reply(503, headers={"Retry-After": moment}))
    endpoint = client.data("POST", "/webhooks", 201, json={"url": f"{receiver.url}/busy", "events": ["completed"]})
    told = client.data("POST", f"/webhooks/{endpoint['id']}/test")
    assert (told["http_status"], told["error"]) == (503, "The receiver answered 503.")


@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_credential_that_is_a_key_twice_is_shown_to_nobody(catalogue: Catalogue, status: int) -> None:
    body = f'{{"{SECRET}":1,"{SECRET}":2}}'
    auth = {"type": "bearer", "secret": SECRET}
    ended, trial = catalogue.both(catalogue.add(query={"body": body, "status": status}, auth=auth))
    stream = {"body": f"data: {body}\n\n", "is": "text/event-stream"}
    more: Json = {"adapter": "chat_completion", "streaming": True}
    tool = catalogue.add("/garbage/chat/completions", stream, auth=auth, **more)
    streamed, _ = catalogue.both(tool, {"messages": []}, stream=True)
    for shown in (ended, trial, streamed):
        assert shown["status"] == "failed"
        assert SECRET[:8] not in json.dumps(shown)
    assert streamed["error"]["detail"] == "In a chunk: The response has an object with the same key more than once."
