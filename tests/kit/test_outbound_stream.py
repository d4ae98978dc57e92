"""A response that is handed on as it arrives: the same rules as for one that is read whole, and a limit of silence."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from ipaddress import ip_network
from socket import socket
from typing import Any

import pytest

from common.kit.outbound import Aborted, Broken, Call, OutboundClient, OutboundError, ResponseTooLarge, TimedOut
from tests.kit import peers
from tests.kit.peers import Peer, ending, running

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
NEVER = 3600


@pytest.fixture
def outbound() -> Iterator[OutboundClient]:
    outbound = OutboundClient((ip_network("127.0.0.0/8"),), user_agent="test")
    yield outbound
    outbound.close()


def falls_silent(start: bytes) -> peers.Script:
    def script(peer: Peer, conn: socket) -> None:
        peer.read(conn)
        conn.sendall(start)
        peer.wait()

    return script


def read(outbound: OutboundClient, peer: Peer, **options: Any) -> bytes:
    given: dict[str, Any] = {
        "headers": {},
        "body": b"{}",
        "timeout": NEVER,
        "idle": NEVER,
        "max_bytes": 1000,
        **options,
    }
    with outbound.stream("POST", peer.url(), **given) as answer:
        return b"".join(answer.pieces)


@pytest.mark.parametrize(
    "reply",
    [
        CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 5\r\n\r\nabcde",
        HEAD + b"\r\nabcde",
        HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"abcde"),
    ],
    ids=["chunked", "with a length", "until the end", "compressed"],
)
def test_a_body_in_any_framing(outbound: OutboundClient, reply: bytes) -> None:
    with running(peers.answers_and_closes(reply)) as peer:
        assert read(outbound, peer) == b"abcde"


def test_pieces_are_there_while_the_peer_still_writes(outbound: OutboundClient) -> None:
    """All that has come is one piece, whatever chunks it came in."""
    more = threading.Event()

    def script(peer: Peer, conn: socket) -> None:
        peer.read(conn)
        conn.sendall(CHUNKED + b"1\r\na\r\n1\r\nb\r\n")
        more.wait(60)
        conn.sendall(b"1\r\nc\r\n0\r\n\r\n")

    options: dict[str, Any] = {"headers": {}, "timeout": NEVER, "idle": NEVER, "max_bytes": 1000}
    with running(script) as peer, outbound.stream("GET", peer.url(), **options) as answer, ending("the first piece"):
        seen = next(answer.pieces)
        more.set()
        assert (seen, b"".join(answer.pieces)) == (b"ab", b"c")


@pytest.mark.parametrize(
    ("script", "options", "error"),
    [
        (falls_silent(CHUNKED + b"1\r\na\r\n"), {"idle": 0.2}, TimedOut),
        (peers.drips(CHUNKED, b"1\r\nx\r\n"), {"timeout": 0.5}, TimedOut),
        (peers.pours(CHUNKED, b"1\r\nx\r\n" * 1_000), {}, ResponseTooLarge),
        (peers.answers_and_closes(CHUNKED + b"3\r\nabc\r\n"), {}, Broken),
        (peers.answers_and_closes(HEAD + b"Content-Length: 9\r\n\r\nabc"), {}, Broken),
        (peers.answers_and_closes(CHUNKED + b"zz\r\n"), {}, Broken),
        (peers.resets_after(CHUNKED + b"3\r\nabc\r\n"), {}, Broken),
    ],
    ids=["silent", "past its deadline", "too large", "cut off", "too short", "garbled", "reset"],
)
def test_a_stream_that_goes_wrong(
    outbound: OutboundClient, script: peers.Script, options: dict[str, Any], error: type[OutboundError]
) -> None:
    with running(script) as peer, pytest.raises(error) as caught, ending("the stream"):
        read(outbound, peer, **options)
    assert (caught.value.sent, caught.value.status) == (True, 200)


@pytest.mark.parametrize("start", [CHUNKED, HEAD + b"\r\n"], ids=["chunked", "until the end"])
def test_another_thread_ends_a_stream(outbound: OutboundClient, start: bytes) -> None:
    call = Call()

    def script(peer: Peer, conn: socket) -> None:
        peer.read(conn)
        conn.sendall(start)
        call.abort()
        peer.wait()

    with running(script) as peer, pytest.raises(Aborted), ending("the stream"):
        read(outbound, peer, call=call)
