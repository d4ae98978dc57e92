"""The chat adapter as a stream: what it asks for, what it makes of chunks, what it charges by, and how it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_network
from socket import socket
from typing import Any

import pytest

from common.kit.outbound import OutboundClient
from common.tools import Price, adapters, metering, streamed
from common.tools.adapters import ToolFailure, ToolRequest, ToolResult
from common.tools.streamed import Chunk
from tests.kit import peers
from tests.kit.peers import Peer, running
from tests.worker.test_tools import IDS, SECRET, version

TOKENS: Any = {"pointer": "/usage/total_tokens", "tokens": 2, "unit": "token"}
METER: Any = {"chars_per_unit": 4, "input": True}
PRICED: Any = Price(1, TOKENS, 1000)
METERED: Any = Price(1, TOKENS, 1000, METER)
INPUT: Any = {"model": "m", "messages": [{"role": "user", "content": "Grüße!"}]}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
USAGE = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 12}}


def delta(index: int = 0, finish: str | None = None, **members: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": members, "finish_reason": finish, "logprobs": None}
    return {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": None,
    }


def events(*chunks: object, done: bool = True) -> bytes:
    texts = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
    return b"".join(f"data: {text}\n\n".encode() for text in [*texts, *(["[DONE]"] if done else [])])


HELLO = (delta(role="assistant", content=""), delta(content="Hel"), delta(content="lo 🎉"), delta(finish="stop"))


class Heard:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.pauses = 0

    def add(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)

    def pause(self) -> None:
        self.pauses += 1


@pytest.fixture(scope="module")
def outbound() -> Iterator[OutboundClient]:
    outbound = OutboundClient((ip_network("127.0.0.0/8"),), user_agent="test")
    yield outbound
    outbound.close()


def streams(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> peers.Script:
    """Answers with these pieces, each a chunk of its own."""

    def script(peer: Peer, conn: socket) -> None:
        while peer.read(conn):
            conn.sendall(HEAD + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece) + end)
            if not end:
                conn.close()

    return script


def ask(outbound: OutboundClient, peer: Peer, sink: Any = None, **changes: Any) -> ToolResult:
    tool = version(peer.url("/v1"), adapter="chat_completion", **{"price": PRICED, **changes})
    request = ToolRequest(tool, json.dumps(INPUT), IDS, None, sink=sink or Heard())
    return adapters.call(outbound, request)


def message(result: ToolResult) -> Any:
    whole: Any = result.output
    return whole["choices"][0]["message"]


def test_a_stream_is_put_together_to_the_answer_of_a_call_without(outbound: OutboundClient) -> None:
    heard = Heard()
    with running(streams(events(*HELLO, USAGE))) as peer:
        result = ask(outbound, peer, heard)
    body = json.loads(peer.requests[0].partition(b"\r\n\r\n")[2])
    assert body == {**INPUT, "stream": True, "stream_options": {"include_usage": True}}
    assert (result.units, result.basis) == (21, "reported")
    assert result.output == {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello 🎉"},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21},
    }
    assert [chunk.get("choices") for chunk in heard.chunks] == [chunk["choices"] for chunk in (*HELLO, USAGE)]


@pytest.mark.parametrize("size", [1, 7, 50])
def test_an_answer_does_not_depend_on_where_its_stream_is_cut(outbound: OutboundClient, size: int) -> None:
    raw = events(*HELLO, USAGE)
    with running(streams(*[raw[at : at + size] for at in range(0, len(raw), size)])) as peer:
        assert message(ask(outbound, peer)) == {"role": "assistant", "content": "Hello 🎉"}


def test_whatever_a_message_is_made_of(outbound: OutboundClient) -> None:
    call = {"index": 0, "id": "t-1", "type": "function", "function": {"name": "add", "arguments": ""}}
    chunks = (
        delta(role="assistant", content=None, reasoning_content="Let me "),
        delta(role="assistant", reasoning_content="see."),
        delta(tool_calls=[call]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}]),
        delta(tool_calls=[{"index": 1, "id": "t-2", "function": {"name": "sub", "arguments": "{}"}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}], unknown={"deep": ["x"]}),
        delta(index=1, content="Another", finish="length"),
        delta(finish="tool_calls"),
    )
    with running(streams(events(*chunks, done=False))) as peer:
        result = ask(outbound, peer, price=METERED)
    assert message(result) == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "Let me see.",
        "tool_calls": [
            {"index": 0, "id": "t-1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
            {"index": 1, "id": "t-2", "function": {"name": "sub", "arguments": "{}"}},
        ],
        "unknown": {"deep": ["x"]},
    }
    # 11 of reasoning, 8 and 2 of arguments, 7 of the other choice; 6 of the input
    assert (result.units, result.basis) == (7 + 2, "metered")


@pytest.mark.parametrize(
    ("meter", "texts", "units"),
    [
        ({"chars_per_unit": 4, "input": False}, ["abcd", "e"], 2),
        ({"chars_per_unit": 4, "input": True}, ["abcd"], 1 + 2),
        (
            {"chars_per_unit": 1, "input": False},
            ["🎉é", [{"type": "text", "text": "x"}, {"type": "image"}], None, 4],
            3,
        ),
        ({"chars_per_unit": 1000, "input": True}, [], 1),
    ],
)
def test_a_meter_counts_characters(meter: Any, texts: list[Any], units: int) -> None:
    answer = {"choices": [{"message": {"content": text}} for text in texts]}
    assert metering.units(meter, INPUT, answer) == units
    assert metering.units(meter, "no object", answer) == units - metering.units(meter, INPUT, {"choices": []})


def test_zero_units_that_are_reported_are_no_units(outbound: OutboundClient) -> None:
    nothing = {"choices": [], "usage": {"total_tokens": 0}}
    with running(streams(events(*HELLO, nothing))) as peer:
        result = ask(outbound, peer, price=METERED)
    assert (result.units, result.basis) == (0, "reported")


def test_a_server_that_does_not_stream_is_taken_at_its_whole_word(outbound: OutboundClient) -> None:
    heard, choice = Heard(), {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    body = json.dumps({"id": "c-1", "choices": [choice], "usage": {"total_tokens": 3}}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with running(peers.answers(head + body)) as peer:
        result = ask(outbound, peer, heard)
    assert (message(result), result.units, len(heard.chunks)) == (choice["message"], 3, 1)


BAD = "tool_bad_response"
OVERLOADED = {"error": {"message": "overloaded"}}
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx"
BUSY = b"HTTP/1.1 429 X\r\nContent-Length: 0\r\nRetry-After: 7\r\n\r\n"
AWAY = b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"
FAILURES: dict[str, tuple[peers.Script, str, bool]] = {
    "an error in the stream": (streams(events(HELLO[1], OVERLOADED)), BAD, False),
    "no JSON": (streams(events(HELLO[1], "{")), BAD, False),
    "no object": (streams(events([HELLO[1]])), BAD, False),
    "choices that are none": (streams(events({"choices": [None]})), BAD, False),
    "no choices": (streams(events(USAGE)), BAD, False),
    "no usage": (streams(events(*HELLO)), BAD, False),
    "a character that cannot be stored": (streams(events(delta(content="\0"))), BAD, False),
    "not UTF-8": (streams(b"data: \xff\n\n"), BAD, False),
    "it stops early": (streams(events(HELLO[1], done=False)), BAD, False),
    "the connection breaks": (streams(events(HELLO[1], done=False), end=b""), BAD, True),
    "silence": (streams(events(HELLO[1], done=False), end=b"1"), "tool_timeout", True),
    "endless": (streams(events(*[delta(content="x" * 50_000)] * 120)), "output_too_large", False),
    "a page": (peers.answers(PAGE), BAD, False),
    "refused": (peers.answers(BUSY), "tool_error", True),
    "failed": (peers.answers(AWAY), "tool_failed", True),
}


@pytest.mark.parametrize("what", FAILURES)
def test_how_a_stream_fails(outbound: OutboundClient, what: str) -> None:
    script, code, transient = FAILURES[what]
    with running(script) as peer, pytest.raises(ToolFailure) as caught:
        ask(outbound, peer, idle_seconds=1)
    assert (caught.value.code, caught.value.transient, caught.value.sent) == (code, transient, True)
    assert ("overloaded" in caught.value.detail) == (what == "an error in the stream")


@pytest.mark.parametrize("finish", ["stop", None])
def test_a_credential_is_not_shown_to_anybody(outbound: OutboundClient, finish: str | None) -> None:
    """Neither in one chunk nor over several, and the answer is what was shown; what only looked like it comes late."""
    heard, shown = Heard(), streamed.Assembly()
    texts = [f"My key is {SECRET}", SECRET[:7], SECRET[7:], SECRET[:3]]
    with running(streams(events(*[delta(content=text) for text in texts], delta(finish=finish)))) as peer:
        tool = version(peer.url("/v1"), adapter="chat_completion", auth={"type": "bearer"}, price=METERED)
        result = adapters.call(outbound, ToolRequest(tool, json.dumps(INPUT), IDS, SECRET, sink=heard))
    for chunk in heard.chunks:
        shown.add(chunk)
    assert message(result) == {"content": f"My key is [redacted][redacted]{SECRET[:3]}"}
    assert [choice["message"] for choice in shown.choices()] == [message(result)]
    assert SECRET[:7] not in json.dumps(heard.chunks)


@pytest.mark.parametrize("secret", [None, SECRET], ids=["nothing to redact", "a secret"])
def test_an_error_that_quotes_the_credential_is_redacted(outbound: OutboundClient, secret: str | None) -> None:
    said = {"error": {"message": f"wrong key {SECRET}"}}
    auth = {"type": "none" if secret is None else "bearer"}
    with running(streams(events(said))) as peer, pytest.raises(ToolFailure) as caught:
        tool = version(peer.url("/v1"), adapter="chat_completion", auth=auth)
        adapters.call(outbound, ToolRequest(tool, json.dumps(INPUT), IDS, secret, sink=Heard()))
    assert (SECRET in caught.value.detail) == (secret is None)


def test_a_chunk_about_a_refused_credential_is_the_operators_business(outbound: OutboundClient) -> None:
    said = {"error": {"message": "No such key in project 4711", "code": 401}}
    with running(streams(events(said))) as peer, pytest.raises(ToolFailure) as caught:
        tool = version(peer.url("/v1"), adapter="chat_completion", auth={"type": "bearer"})
        adapters.call(outbound, ToolRequest(tool, json.dumps(INPUT), IDS, SECRET, sink=Heard()))
    assert caught.value.detail == "The tool refused the platform's credential."
    assert "project 4711" in str(caught.value.operator_detail)


VECTORS = {"object": "list", "data": [{"index": 0, "embedding": "AAAA"}], "usage": {"total_tokens": 5}}


def embedded(outbound: OutboundClient, body: object) -> tuple[ToolResult, bytes]:
    raw = json.dumps(body).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(raw)
    with running(peers.answers(head + raw)) as peer:
        tool = version(peer.url("/v1"), adapter="embeddings", price=PRICED)
        return adapters.call(outbound, ToolRequest(tool, '{"input": ["a"]}', IDS)), peer.requests[0]


def test_embeddings(outbound: OutboundClient) -> None:
    result, request = embedded(outbound, VECTORS)
    assert request.startswith(b"POST /v1/embeddings HTTP/1.1\r\n") and request.endswith(b'{"input": ["a"]}')
    assert (result.output, result.units, result.basis) == (VECTORS, 5, "reported")


@pytest.mark.parametrize("body", [{"error": {"message": "no model"}}, {**VECTORS, "data": []}, [VECTORS]])
def test_what_has_no_embeddings_is_a_bad_response(outbound: OutboundClient, body: object) -> None:
    with pytest.raises(ToolFailure) as caught:
        embedded(outbound, body)
    assert caught.value.code == "tool_bad_response"
