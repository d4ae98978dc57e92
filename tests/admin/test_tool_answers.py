"""Responses of real-world tools, and the result for the user, in the webhook and in the admin's trial call."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from standardwebhooks import Webhook

from tests.admin.conftest import Admin, Catalogue
from tests.client import Client, Json
from tests.outside.receiver import Receiver
from tests.outside.tool import Tool

SECRET = "Zm9vYmFy/YmF6cXV4/key123=="
METERED = {"base_tokens": 1, "per_unit": {"pointer": "/n", "tokens": 1, "unit": "token"}, "max_tokens": 1000}


@pytest.mark.parametrize(
    "number", ["9223372036854775807", "9223372036854775808", "1e19", "1e308", "9" * 300, "9007199254740993.5", "1000"]
)
@pytest.mark.parametrize("tokens", [1, 0.001, 2**53 - 1])
def test_whatever_number_a_tool_reports_the_hold_is_the_most_that_is_charged(
    catalogue: Catalogue, number: str, tokens: float
) -> None:
    price = {**METERED, "per_unit": {"pointer": "/n", "tokens": tokens, "unit": "token"}}
    ended, trial = catalogue.both(catalogue.add(query={"body": f'{{"n":{number}}}'}, price=price))
    charged = 1000 if number != "1000" or tokens >= 1 else 2
    assert (ended["status"], ended["error"], ended["billing"]["charged"]) == ("succeeded", None, charged)
    assert (trial["status"], trial["error"], trial["tokens"]) == ("succeeded", None, charged)


BASIC = base64.b64encode(f"user:{SECRET}".encode()).decode()
BEARER = {"type": "bearer", "secret": SECRET}
ECHOES = {
    "as it is": SECRET,
    "with slashes escaped": SECRET.replace("/", r"\/"),
    "letter by letter": "".join(rf"\u{ord(letter):04X}" for letter in SECRET),
    "in JSON in a string": json.dumps(json.dumps({"Authorization": f"Bearer {SECRET}"}).replace("/", r"\/"))[1:-1],
    "percent-encoded": quote(SECRET, safe=""),
    "as a header": f"Bearer {SECRET}",
    "as HTML": SECRET.replace("/", "&#x2F;").replace("=", "&#61;"),
    "without padding": SECRET.rstrip("="),
    "as JavaScript": json.dumps(r"\u{5a}" + SECRET[1:].replace("/", r"\x{2f}").replace("Y", r"\u{000059}"))[1:-1],
    "in the URL-safe alphabet": SECRET.replace("/", "_"),
}


@pytest.mark.parametrize("how", ECHOES)
@pytest.mark.parametrize("status", [200, 401, 400, 500])
def test_a_credential_that_comes_back_is_shown_to_nobody(
    catalogue: Catalogue, admin: Admin, receiver: Receiver, how: str, status: int
) -> None:
    body = f'{{"echo":"{ECHOES[how]}","{ECHOES[how]}":1}}'
    if status != 200:
        body = f'{{"error":{{"message":"no: {ECHOES[how]}!"}}}}'
    tool = catalogue.add(query={"body": body, "status": status}, auth=BEARER)
    ended, trial = catalogue.both(tool, webhook_url=f"{receiver.url}/hook")
    (hook,) = receiver.wait(1)
    (listed,) = admin.data("GET", "/admin/invocations")
    for shown in (ended, trial, json.loads(hook.body), listed):
        assert not any(part in json.dumps(shown) for part in ("Zm9v", "YmF6cXV4", "key123", r"\\u005a"))
    assert "[redacted]" in json.dumps(trial)
    if status == 200:
        assert ended["output"] == trial["output"]
        assert "[redacted]" in ended["output"]["echo"]
        assert 1 in ended["output"].values()


def test_what_a_header_is_made_of_is_not_shown_either(catalogue: Catalogue) -> None:
    auth = {"type": "basic", "username": "user", "secret": SECRET}
    body = json.dumps({"seen": [f"Basic {BASIC}", BASIC.rstrip("="), quote(BASIC, safe=""), f"user:{SECRET}"]})
    ended, trial = catalogue.both(catalogue.add(query={"body": body}, auth=auth))
    hidden = ["Basic [redacted]", "[redacted]", "[redacted]", "user:[redacted]"]
    assert ended["output"]["seen"] == trial["output"]["seen"] == hidden


def test_a_credential_of_digits_may_come_back_as_a_number(catalogue: Catalogue) -> None:
    auth = {"type": "header", "header_name": "X-Key", "secret": "1234567890"}
    ended, _ = catalogue.both(catalogue.add(query={"body": '{"key":1234567890,"n":12345678901}'}, auth=auth))
    assert ended["output"] == {"key": "[redacted]", "n": 12345678901}


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("said", ["Incorrect API key provided: sk-proj-Abc12***o345.", "no such key in project 4711"])
def test_a_refused_credential_is_the_operators_business(
    catalogue: Catalogue, admin: Admin, receiver: Receiver, status: int, said: str
) -> None:
    body = json.dumps({"error": {"message": said}})
    auth = {"type": "bearer", "secret": "sk-proj-Abc12-not-so-secret-o345"}
    tool = catalogue.add(query={"body": body, "status": status}, auth=auth)
    ended, trial = catalogue.both(tool, webhook_url=f"{receiver.url}/hook")
    told = {"code": "tool_error", "detail": "The tool refused the platform's credential."}
    assert ended["error"] == json.loads(receiver.wait(1)[0].body)["data"]["error"] == told
    rest = f"The tool answered {status}: {said.replace('sk-proj-Abc12***o345', '[redacted]')}"
    assert trial["error"] == {"code": "tool_error", "detail": rest}
    (listed,) = admin.data("GET", "/admin/invocations")
    assert (listed["error"], listed["operator_detail"]) == (told, rest)


def test_other_refusals_are_the_users_business(catalogue: Catalogue, admin: Admin) -> None:
    ended, _ = catalogue.both(catalogue.add(query={"body": '{"detail":"too long"}', "status": 422}, auth=BEARER))
    assert ended["error"]["detail"] == "The tool answered 422: too long"
    assert [each["operator_detail"] for each in admin.data("GET", "/admin/invocations")] == [None]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, ("succeeded", 2)) for status in (408, 425, 429, 503, 520, 521, 522, 523, 524, 529)),
        *((status, ("failed", 1)) for status in (404, 409, 500, 501, 519, 525, 530)),
    ],
)
def test_only_a_status_that_may_change_is_tried_again(
    catalogue: Catalogue, client: Client, tool: Tool, status: int, outcome: tuple[str, int]
) -> None:
    made = catalogue.add("/fail", {"status": status, "times": 1}, max_attempts=3)
    ended = client.ended(client.invoke(made["slug"], {})["id"])
    assert (ended["status"], ended["attempts"]) == outcome
    assert len(tool.calls(ended["id"])) == ended["attempts"]


@pytest.mark.parametrize("status", [408, 425, 524, 529])
def test_a_tool_that_may_have_run_is_not_called_again(catalogue: Catalogue, client: Client, status: int) -> None:
    made = catalogue.add("/fail", {"status": status, "times": 1}, max_attempts=3, idempotent=False)
    ended = client.ended(client.invoke(made["slug"], {})["id"])
    assert (ended["status"], ended["attempts"]) == ("failed", 1)


@pytest.mark.parametrize("content_type", ["text/html", "text/plain; charset=utf-8", "text/json"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_json_under_another_name_is_json(catalogue: Catalogue, content_type: str, mark: str) -> None:
    tool = catalogue.add(query={"body": f'{mark}{{"a":"ü"}}', "is": content_type})
    ended, trial = catalogue.both(tool)
    assert (ended["status"], ended["output"]) == (trial["status"], trial["output"]) == ("succeeded", {"a": "ü"})


def test_text_that_is_no_json_is_not(catalogue: Catalogue) -> None:
    ended, _ = catalogue.both(catalogue.add(query={"body": "<html>busy</html>", "is": "text/html"}))
    assert (ended["status"], ended["error"]["code"]) == ("failed", "tool_bad_response")
    assert ended["billing"]["charged"] == 0


@pytest.mark.parametrize("size", [250_000, 300_000, 4_900_000])
def test_a_large_answer_does_not_go_into_the_webhook(
    catalogue: Catalogue, client: Client, receiver: Receiver, size: int
) -> None:
    tool = catalogue.add("/large", {"size": size})
    ended = client.ended(client.invoke(tool["slug"], {}, webhook_url=f"{receiver.url}/hook")["id"])
    assert len(ended["output"]["text"]) == size
    secret = client.webhooks.default_secret().secret
    (hook,) = receiver.wait(1)
    sent = Webhook(secret).verify(hook.body, dict(hook.headers))
    if size < 256_000:
        assert (sent["data"]["output"], "truncated" in sent) == (ended["output"], False)
    else:
        thin = {"id": ended["id"], "status": "succeeded", "links": ended["links"]}
        assert (sent["data"], sent["truncated"]) == (thin, True)
        assert len(hook.body) < 1_000
    assert client.data("GET", sent["data"]["links"]["self"].removeprefix("/api/v1"))["output"] == ended["output"]


@pytest.mark.parametrize(
    "streaming", [{"stream": True, "stream_options": {"include_usage": True}}, {"stream_options": None}, {"stream": 0}]
)
def test_a_chat_completion_is_asked_for_as_a_whole(
    catalogue: Catalogue, client: Client, tool: Tool, streaming: Json
) -> None:
    answer = json.dumps({"choices": [{"message": {"content": "hi"}}]})
    made = catalogue.add("/garbage/chat/completions", adapter="chat_completion", query={"body": answer})
    wanted = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    ended = client.ended(client.invoke(made["slug"], {**wanted, **streaming})["id"])
    assert ended["status"] == "succeeded"
    assert [call.body for call in tool.calls(ended["id"])] == [wanted]
