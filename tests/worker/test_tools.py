"""Adapters against peers that answer as told: what a tool gets, what comes of its answer, which code a failure has."""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import pytest

from common.kit import jsonb
from common.kit.outbound import Aborted, Answer, Call, OutboundClient
from common.models.tools import ADAPTERS as NAMED
from common.tools import Price, Version
from common.tools import adapters as tools
from common.tools.adapters import ADAPTERS, CallIds, ToolFailure, ToolRequest, ToolResult, chat_completion, replies
from tests.kit import peers
from tests.kit.peers import Peer, running

IDS = CallIds(UUID("01890a5d-ac96-774b-bcce-b302099a8057"), "req-1")
SECRET = "sk-canary-7a93"


@pytest.fixture(scope="module")
def outbound() -> Iterator[OutboundClient]:
    outbound = OutboundClient((ip_network("127.0.0.0/8"),), user_agent="test")
    yield outbound
    outbound.close()


def version(url: str, **changes: Any) -> Version:
    plain = Version(
        id=UUID(int=1),
        tool_id=UUID(int=2),
        slug="tool",
        version=1,
        adapter="http_json",
        method="POST",
        endpoint_url=url,
        headers={},
        auth={"type": "none"},
        encrypted_secret=None,
        timeout_seconds=20,
        max_attempts=3,
        idempotent=True,
        result_pointer=None,
        price=Price(1, None, 100),
        input_schema={},
        output_schema=None,
        example_input=None,
    )
    return replace(plain, **changes)


def reply(body: Any, status: int = 200, **headers: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(data))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + data


def call(
    outbound: OutboundClient,
    peer: Peer,
    value: Any = None,
    *,
    secret: str | None = None,
    call: Call | None = None,
    **changes: Any,
) -> ToolResult:
    value = {} if value is None else value
    request = ToolRequest(
        version(peer.url("/tool"), **changes), json.dumps(value, ensure_ascii=False), IDS, secret, call
    )
    return tools.call(outbound, request)


def failure(outbound: OutboundClient, script: peers.Script, value: Any = None, **options: Any) -> ToolFailure:
    with running(script) as peer, pytest.raises(ToolFailure) as caught:
        call(outbound, peer, value, **options)
    return caught.value


# -- what a tool gets ----------------------------------------------------------------------------------------------


def test_the_input_itself_is_the_body_and_the_ids_go_along(outbound: OutboundClient) -> None:
    with running(peers.answers(reply({}))) as peer:
        call(outbound, peer, {"text": "grün", "n": 10**30}, headers={"X-Tool": "1", "idempotency-key": "forged"})
    request = peer.requests[0]
    headers = peers.headers(request)
    assert request.startswith(b"POST /tool HTTP/1.1\r\n")
    assert json.loads(request.partition(b"\r\n\r\n")[2]) == {"text": "grün", "n": 10**30}
    assert headers["content-type"] == headers["accept"] == "application/json"
    assert (headers["idempotency-key"], headers["x-request-id"]) == (str(IDS.invocation_id), "req-1")
    assert headers["x-tool"] == "1"
    assert request.lower().count(b"idempotency-key") == 1


def test_get_sends_the_input_as_query(outbound: OutboundClient) -> None:
    value = {"q": "a&b=ä", "n": 1.5, "yes": True, "none": None, "many": [1, "x"], "deep": {"a": [1]}}
    with running(peers.answers(reply({}))) as peer:
        call(outbound, peer, value, method="GET")
    head = peer.requests[0].decode("latin-1")
    assert head.startswith(
        "GET /tool?q=a%26b%3D%C3%A4&n=1.5&yes=true&many=1&many=x&deep=%7B%22a%22%3A%5B1%5D%7D HTTP/1.1\r\n"
    )
    assert "content-type" not in peers.headers(peer.requests[0])
    refused = failure(outbound, peers.answers(reply({})), ["no object"], method="GET")
    assert (refused.code, refused.sent) == ("tool_error", False)


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"type": "bearer"}, "authorization", f"Bearer {SECRET}"),
        ({"type": "header", "header_name": "X-Key"}, "x-key", SECRET),
        (
            {"type": "basic", "username": "ü"},
            "authorization",
            "Basic " + base64.b64encode(f"ü:{SECRET}".encode()).decode(),
        ),
    ],
)
def test_credentials_and_their_echo(outbound: OutboundClient, auth: dict[str, str], header: str, value: str) -> None:
    """The credential is sent as the version says, wins over the tool's own headers, and never comes back."""
    for body, status in (({"echo": [value]}, 200), ({"error": {"message": f"bad key {value}"}}, 401)):
        with running(peers.answers(reply(body, status))) as peer:
            try:
                seen = str(call(outbound, peer, auth=auth, secret=SECRET, headers={header: "own"}))
            except ToolFailure as error:
                assert error.detail == "The tool refused the platform's credential."
                seen = error.operator_detail or ""
        assert peers.headers(peer.requests[0])[header] == value
        assert "[redacted]" in seen
        assert SECRET not in seen
        assert value not in seen


def test_a_credential_that_is_gone_is_not_replaced_by_nothing(outbound: OutboundClient) -> None:
    with running(peers.answers(reply({}))) as peer, pytest.raises(ToolFailure) as caught:
        call(outbound, peer, auth={"type": "bearer"}, secret=None)
    assert (caught.value.code, caught.value.sent, peer.connections) == ("credential_unavailable", False, 0)


# -- what comes of an answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pointer", "per_unit", "output", "units"),
    [
        (None, None, {"data": [{"x": 1}], "usage": {"n": 2.5}}, None),
        ("/data/0", {"pointer": "/usage/n", "tokens": 3, "unit": "u"}, {"x": 1}, 2.5),
        ("/usage/n", {"pointer": "/data/0/x", "tokens": 3, "unit": "u"}, 2.5, 1),
    ],
)
def test_output_and_units(
    outbound: OutboundClient, pointer: str | None, per_unit: Any, output: Any, units: float | None
) -> None:
    with running(peers.answers(reply({"data": [{"x": 1}], "usage": {"n": 2.5}}))) as peer:
        result = call(outbound, peer, result_pointer=pointer, price=Price(1, per_unit, 100))
    assert (result.output, result.units, result.http_status) == (output, units, 200)


PER_UNIT = Price(1, {"pointer": "/n", "tokens": 1, "unit": "u"}, 100)
MISSING = {"result_pointer": "/nope"}


@pytest.mark.parametrize(
    ("script", "options", "expected"),
    [
        (peers.answers(reply({}, 400)), {}, ("tool_error", 400, False, False)),
        (peers.answers(reply({}, 401)), {}, ("tool_error", 401, False, False)),
        (peers.answers(reply({}, 429)), {}, ("tool_error", 429, True, False)),
        (peers.answers(reply({}, 500)), {}, ("tool_failed", 500, False, True)),
        (peers.answers(reply(b"<html>", 502, Content_Type="text/html")), {}, ("tool_failed", 502, True, True)),
        (peers.answers(reply({}, 503)), {}, ("tool_failed", 503, True, True)),
        (peers.answers(reply({}, 504)), {}, ("tool_failed", 504, True, True)),
        (peers.answers(reply({}, 302, Location="/x")), {}, ("tool_bad_response", 302, False, False)),
        (peers.answers(reply(b"", 204)), {}, ("tool_bad_response", 204, False, False)),
        (peers.answers(reply(b"nope")), {}, ("tool_bad_response", 200, False, False)),
        (peers.answers(reply(b'{"n": NaN}')), {}, ("tool_bad_response", 200, False, False)),
        (peers.answers(reply({}, Content_Type="application/pdf")), {}, ("tool_bad_response", 200, False, False)),
        (peers.answers(reply({})), MISSING, ("tool_bad_response", 200, False, False)),
        (peers.answers(reply({"n": -1})), {"price": PER_UNIT}, ("tool_bad_response", 200, False, False)),
        (peers.answers(reply({"m": 1})), {"price": PER_UNIT}, ("tool_bad_response", 200, False, False)),
        (peers.answers(reply({"n": "NaN"})), {"price": PER_UNIT}, ("tool_bad_response", 200, False, False)),
        (peers.answers(reply(bytes(5 * 1024 * 1024 + 1))), {}, ("output_too_large", 200, False, False)),
        (peers.resets_after(reply({"a": "b" * 99})[:-50]), {}, ("tool_bad_response", 200, True, True)),
        (peers.answers_and_closes(b""), {}, ("tool_unreachable", None, True, True)),
        (peers.hangs, {"timeout_seconds": 0.3}, ("tool_timeout", None, True, True)),
    ],
)
def test_failures_have_codes(
    outbound: OutboundClient,
    script: peers.Script,
    options: dict[str, Any],
    expected: tuple[str, int | None, bool, bool],
) -> None:
    """The code, the HTTP status, whether another attempt may help, and whether the breaker counts it."""
    failed = failure(outbound, script, **options)
    assert (failed.code, failed.http_status, failed.transient, failed.counts_against_tool) == expected
    assert failed.sent is True
    assert failed.detail
    assert failed.duration_ms is not None


@pytest.mark.parametrize(
    ("url", "transient"), [("http://127.0.0.1:1/", True), ("http://10.0.0.1/", False), ("https://2130706433/", False)]
)
def test_what_was_never_sent(outbound: OutboundClient, url: str, transient: bool) -> None:
    with pytest.raises(ToolFailure) as caught:
        tools.call(outbound, ToolRequest(version(url), "{}", IDS))
    failed = caught.value
    assert (failed.code, failed.sent, failed.transient) == ("tool_unreachable", False, transient)


def test_aborting_goes_through(outbound: OutboundClient) -> None:
    handle = Call()
    threading.Timer(0.2, handle.abort).start()
    with running(peers.hangs) as peer, pytest.raises(Aborted):
        call(outbound, peer, call=handle)


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (429, "5", 5),
        (503, "86400", 86_400),
        (429, "0", 0),
        (503, "garbage", None),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", 0),
        (400, "5", None),
        (500, "5", None),
    ],
)
def test_retry_after(outbound: OutboundClient, status: int, header: str, seconds: float | None) -> None:
    assert failure(outbound, peers.answers(reply({}, status, Retry_After=header))).retry_after == seconds


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"error": {"message": "text too long", "type": "x"}}, "The tool answered 400: text too long"),
        ({"error": "no\r\n\x1b[31mway\u2028now"}, "The tool answered 400: no [31mway now"),
        ({"title": "t", "detail": "what a problem says"}, "The tool answered 400: what a problem says"),
        ({"message": "m" * 5_000}, "The tool answered 400: " + "m" * 300),
        ({"detail": [{"loc": 1}]}, "The tool answered 400."),
        ([1], "The tool answered 400."),
        (b"not JSON", "The tool answered 400."),
    ],
)
def test_what_a_tool_says_about_its_refusal_is_passed_on_clean_and_short(
    outbound: OutboundClient, body: Any, detail: str
) -> None:
    assert failure(outbound, peers.answers(reply(body, 400))).detail == detail


# -- chat completion -----------------------------------------------------------------------------------------------

COMPLETION = {
    "id": "c-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21},
}
CHAT: dict[str, Any] = {
    "adapter": "chat_completion",
    "auth": {"type": "bearer"},
    "secret": SECRET,
    "price": Price(1, {"pointer": "/usage/total_tokens", "tokens": 2, "unit": "token"}, 1000),
}


def test_a_chat_completion_is_priced_by_the_tokens_really_used(outbound: OutboundClient) -> None:
    messages = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with running(peers.answers(reply(COMPLETION))) as peer:
        result = call(outbound, peer, messages, result_pointer="/choices/0/message/content", **CHAT)
    request = peer.requests[0]
    assert (result.output, result.units) == ("Hello", 21)
    assert request.startswith(b"POST /tool/chat/completions HTTP/1.1\r\n")
    assert json.loads(request.partition(b"\r\n\r\n")[2]) == {name: messages[name] for name in ("model", "messages")}
    assert peers.headers(request)["authorization"] == f"Bearer {SECRET}"


def test_a_total_that_a_server_leaves_out_is_added_up(outbound: OutboundClient) -> None:
    body = {**COMPLETION, "usage": {"prompt_tokens": 9, "completion_tokens": 12}}
    with running(peers.answers(reply(body))) as peer:
        assert call(outbound, peer, **CHAT).units == 21


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "model overloaded"}},
        {**COMPLETION, "choices": []},
        {**COMPLETION, "choices": [None]},
        {**COMPLETION, "usage": None},
        {**COMPLETION, "usage": {"prompt_tokens": 9}},
        {**COMPLETION, "usage": {"prompt_tokens": 9, "completion_tokens": -12}},
        {**COMPLETION, "usage": {"total_tokens": -1}},
        [COMPLETION],
        "Hello",
    ],
)
def test_what_is_no_completion_or_cannot_be_priced_is_a_bad_response(outbound: OutboundClient, body: Any) -> None:
    failed = failure(outbound, peers.answers(reply(body)), **CHAT)
    assert (failed.code, failed.http_status) == ("tool_bad_response", 200)
    assert "model overloaded" in failed.detail or "overloaded" not in str(body)


@pytest.mark.parametrize("status", [200, 400, 402, 500])
@pytest.mark.parametrize("named", [{"code": 401}, {"code": "invalid_api_key"}, {"type": "authentication_error"}])
def test_a_refused_credential_is_one_whatever_the_status(
    outbound: OutboundClient, status: int, named: dict[str, object]
) -> None:
    error = {"message": "No such key in project 4711 of org-9", **named}
    failed = failure(outbound, peers.answers(reply({"error": error}, status)), **CHAT)
    assert failed.detail == "The tool refused the platform's credential."
    assert "project 4711" in str(failed.operator_detail)


def test_an_error_of_a_tool_without_a_credential_is_about_none(outbound: OutboundClient) -> None:
    said = {"error": {"message": "Say who you are", "code": "unauthorized"}}
    failed = failure(outbound, peers.answers(reply(said, 400)))
    assert (failed.detail, failed.operator_detail) == ("The tool answered 400: Say who you are", None)


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("https://a.example/v1", "https://a.example/v1/chat/completions"),
        ("https://a.example/v1/", "https://a.example/v1/chat/completions"),
        ("https://a.example/v1/chat/completions", "https://a.example/v1/chat/completions"),
        ("https://a.example/x?api-version=1", "https://a.example/x/chat/completions?api-version=1"),
    ],
)
def test_endpoints(url: str, full: str) -> None:
    assert chat_completion.endpoint(url, chat_completion.PATH) == full


def test_every_adapter_that_a_tool_may_name_exists() -> None:
    assert set(ADAPTERS) == set(NAMED)


@pytest.mark.parametrize("error", [OverflowError, KeyError, RecursionError, TypeError])
def test_an_unforeseen_error_in_reading_is_a_bad_response(error: type[Exception]) -> None:
    def read() -> ToolResult:
        raise error("nobody has foreseen this")

    with pytest.raises(ToolFailure) as failure:
        replies.reply(Answer(200, {}, b"", 1), 0, read).read()
    told = failure.value
    assert (told.code, told.detail, told.http_status) == ("tool_bad_response", "The response cannot be read.", 200)
    assert told.sent


def test_a_sum_of_tokens_has_no_more_digits_than_can_be_written() -> None:
    usage = {"prompt_tokens": 10**4299, "completion_tokens": 9 * 10**4299}
    whole = chat_completion.with_total({"usage": usage})
    assert json.loads(jsonb.encoded(whole))["usage"]["total_tokens"] == int(sys.float_info.max)
