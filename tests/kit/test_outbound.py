"""The outbound client against peers that misbehave: deadlines, aborts, caps, framing, connections, what is sent."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from common.kit.outbound import (
    Aborted,
    Answer,
    Broken,
    Call,
    OutboundClient,
    OutboundError,
    PeerUnreachable,
    Refused,
    ResponseTooLarge,
    TimedOut,
    pools,
)
from tests.kit import peers
from tests.kit.peers import OK, Peer, aborting, ending, running

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
#: A timeout in a test that ends before: nobody waits for so long.
NEVER = 3600
CAP = 64 * 1024


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine shall not make kept-alive connections look idle."""
    monkeypatch.setattr(pools, "MAX_IDLE", 60.0)


@pytest.fixture
def outbound() -> Iterator[OutboundClient]:
    outbound = OutboundClient(LOOPBACK, user_agent="joyfull-test/1")
    yield outbound
    outbound.close()


def send(outbound: OutboundClient, url: str, method: str = "POST", **options: Any) -> Answer:
    given: dict[str, Any] = {"headers": {}, "body": b"{}", "timeout": 10, "max_bytes": CAP, **options}
    return outbound.request(method, url, **given)


# -- deadlines and aborting, in every phase ----------------------------------------------------------------------


@contextlib.contextmanager
def _silent_name() -> Iterator[tuple[OutboundClient, str]]:
    over = threading.Event()

    def resolve(host: str, port: int) -> Sequence[str]:
        over.wait(60)
        return []

    yield OutboundClient(LOOPBACK, user_agent="test", resolve=resolve), "http://silent.example/"
    over.set()


@contextlib.contextmanager
def _unaccepting() -> Iterator[tuple[OutboundClient, str]]:
    """A full backlog: the kernel drops the SYN, as a black hole does."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield OutboundClient(LOOPBACK, user_agent="test"), f"http://127.0.0.1:{listener.getsockname()[1]}/"


@contextlib.contextmanager
def _peer(script: peers.Script, scheme: str = "http") -> Iterator[tuple[OutboundClient, str]]:
    with running(script) as peer:
        yield OutboundClient(LOOPBACK, user_agent="test"), peer.url(scheme=scheme)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
PHASES: dict[str, tuple[Any, bool]] = {
    "name": (_silent_name, False),
    "connection": (_unaccepting, False),
    "handshake": (lambda: _peer(peers.never_reads, "https"), False),
    "sending": (lambda: _peer(peers.never_reads), True),
    "no answer": (lambda: _peer(peers.hangs), True),
    "dripping status": (lambda: _peer(peers.drips(b"", b"HTTP/1.1 200 O")), True),
    "dripping head": (lambda: _peer(peers.drips(HEAD, b"X-A: b\r\n")), True),
    "dripping interim answers": (lambda: _peer(peers.drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n")), True),
    "dripping body": (lambda: _peer(peers.drips(HEAD + b"Content-Length: 1000000\r\n\r\n", b"x")), True),
    "dripping endless body": (lambda: _peer(peers.drips(HEAD + b"\r\n", b"x")), True),
    "dripping chunks": (lambda: _peer(peers.drips(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n")), True),
}


@pytest.mark.parametrize("phase", PHASES)
def test_the_deadline_holds_over_the_whole_exchange(phase: str) -> None:
    peer, sent = PHASES[phase]
    body = b"x" * 30_000_000 if phase == "sending" else b"{}"
    with peer() as (outbound, url):
        for timeout in (0.4, 2.0, 8.0):  # a busy machine may not come as far as this phase at first
            began = time.monotonic()
            with pytest.raises(TimedOut) as caught, ending(f"a call of {timeout} s"):
                send(outbound, url, body=body, timeout=timeout)
            assert time.monotonic() - began > timeout - 0.05
            if caught.value.sent is sent:
                return
    raise AssertionError(f"sent is {not sent} in every try")


@pytest.mark.parametrize("phase", PHASES)
def test_another_thread_aborts_at_once(phase: str) -> None:
    peer, sent = PHASES[phase]
    body = b"x" * 30_000_000 if phase == "sending" else b"{}"
    call = Call()
    with (
        peer() as (outbound, url),
        aborting(call, sent),
        pytest.raises(Aborted) as caught,
        ending("an aborted call"),
    ):
        send(outbound, url, body=body, timeout=NEVER, call=call)
    assert caught.value.sent is sent


def test_the_deadline_and_aborting_hold_on_a_connection_used_before(outbound: OutboundClient) -> None:
    def answers_then_drips(peer: Peer, conn: socket.socket) -> None:
        peer.read(conn)
        conn.sendall(OK)
        peers.drips(HEAD + b"\r\n", b"x")(peer, conn)

    for error, timeout in ((TimedOut, 1.0), (Aborted, NEVER)):
        with running(answers_then_drips) as peer, contextlib.ExitStack() as stack:
            send(outbound, peer.url())
            call = Call()
            if error is Aborted:
                stack.enter_context(aborting(call))
            with pytest.raises(error), ending(error.__name__):
                send(outbound, peer.url(), timeout=timeout, call=call)
            assert peer.connections == 1


def test_a_call_aborted_before_it_begins_does_not_begin(outbound: OutboundClient) -> None:
    call = Call()
    call.abort()
    with running(peers.answers(OK)) as peer, pytest.raises(Aborted) as caught:
        send(outbound, peer.url(), call=call)
    assert peer.connections == 0
    assert caught.value.sent is False


def test_an_abort_that_comes_late_does_not_hurt_the_next_user_of_the_connection(outbound: OutboundClient) -> None:
    """Not even in the moment when the connection is back in its pool, but the exchange not quite over."""

    class AbortedAtLast(Call):
        def check(self) -> None:
            super().check()
            if self.sent:
                self.abort()

    with running(peers.answers(OK)) as peer:
        for late in (Call(), AbortedAtLast()):
            assert send(outbound, peer.url(), call=late).status == 200
            late.abort()
        assert send(outbound, peer.url()).status == 200
        assert peer.connections == 1


def test_no_time_left_sends_nothing(outbound: OutboundClient) -> None:
    with running(peers.answers(OK)) as peer, pytest.raises(TimedOut) as caught:
        send(outbound, peer.url(), timeout=0)
    assert (peer.connections, caught.value.sent) == (0, False)


# -- caps --------------------------------------------------------------------------------------------------------


def _replied(head: bytes, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body


def _with_length(body: bytes, head: bytes = b"") -> bytes:
    return _replied(head + b"Content-Length: %d\r\n" % len(body), body)


BOMB = gzip.compress(bytes(50_000_000))
GZIP, CHUNKED = b"Content-Encoding: gzip\r\n", b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "script",
    [
        peers.answers(_with_length(bytes(CAP + 1))),
        peers.answers(_with_length(BOMB, GZIP)),
        peers.answers(_with_length(zlib.compress(bytes(50_000_000)), b"Content-Encoding: deflate\r\n")),
        peers.answers(_with_length(gzip.compress(BOMB), b"Content-Encoding: gzip, gzip\r\n")),
        peers.answers(_with_length(gzip.compress(b"x") * 70_000, GZIP)),
        peers.pours(_replied(b""), bytes(4096)),
        peers.pours(_replied(b"Content-Length: 10000000000\r\n"), bytes(4096)),
        peers.pours(_replied(CHUNKED), b"1000\r\n" + bytes(4096) + b"\r\n"),
        peers.pours(_replied(CHUNKED) + b"FFFFFFFFFFFFFFFFFFFF\r\n", bytes(4096)),
        peers.pours(_replied(CHUNKED) + b"-1\r\n", bytes(4096)),
    ],
    ids=[
        "N+1",
        "gzip",
        "deflate",
        "gzip twice",
        "gzip members",
        "no length",
        "10 GB",
        "chunks",
        "one chunk",
        "chunk of -1",
    ],
)
def test_a_body_over_the_cap_is_refused_however_it_comes(outbound: OutboundClient, script: peers.Script) -> None:
    with running(script) as peer, pytest.raises(ResponseTooLarge) as caught:
        send(outbound, peer.url())
    assert (caught.value.sent, caught.value.status) == (True, 200)


def test_a_body_of_exactly_the_cap_is_read(outbound: OutboundClient) -> None:
    for reply in (_with_length(bytes(CAP)), _with_length(gzip.compress(bytes(CAP)), GZIP)):
        with running(peers.answers(reply)) as peer:
            answer = send(outbound, peer.url())
        assert (len(answer.body), answer.truncated) == (CAP, False)


def test_a_body_may_be_cut_off_instead(outbound: OutboundClient) -> None:
    with running(peers.pours(_replied(b""), b"x" * 4096)) as peer:
        answer = send(outbound, peer.url(), max_bytes=10, truncate=True)
        assert (answer.status, answer.body, answer.truncated) == (200, b"x" * 10, True)
        send(outbound, peer.url(), max_bytes=10, truncate=True)
        assert peer.connections == 2


@pytest.mark.parametrize(
    "length", [b"-5", b"+2", b"0x2", b"2, 3", b"2\r\nContent-Length: 3", b"", b"2 2", "²".encode()]
)
def test_a_length_that_is_none_is_refused(outbound: OutboundClient, length: bytes) -> None:
    with (
        running(peers.answers(b"HTTP/1.1 200 X\r\nContent-Length: " + length + b"\r\n\r\n{}")) as peer,
        pytest.raises(Broken),
    ):
        send(outbound, peer.url())


def test_a_length_said_twice_is_one(outbound: OutboundClient) -> None:
    with running(peers.answers(b"HTTP/1.1 200 X\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\n{}")) as peer:
        assert send(outbound, peer.url()).body == b"{}"


@pytest.mark.parametrize(
    "script",
    [
        peers.answers(_replied(b"X: " + b"a" * 1_000_000 + b"\r\n")),
        peers.answers(_replied(b"X: " + b"a" * 60_000 + b"\r\nY: " + b"b" * 60_000 + b"\r\n")),
        peers.answers(_replied(b"X: a\r\n" * 5_000)),
        peers.pours(HEAD, b"X: a\r\n"),
        peers.pours(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        peers.pours(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
        peers.pours(_replied(CHUNKED) + b"0\r\n", b"X: a\r\n"),
    ],
    ids=["line", "two lines", "5000 lines", "endless", "endless 100", "endless 103", "endless trailer"],
)
def test_a_head_without_measure_is_refused(outbound: OutboundClient, script: peers.Script) -> None:
    with running(script) as peer, pytest.raises(Broken):
        send(outbound, peer.url())


# -- broken peers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        peers.answers_and_closes(b""),
        peers.answers_and_closes(b"HTTP/1.1 200 OK\r\nContent-Le"),
        peers.answers_and_closes(_replied(b"Content-Length: 100\r\n", b"short")),
        peers.answers_and_closes(_replied(CHUNKED, b"5\r\nhel")),
        peers.answers_and_closes(_replied(CHUNKED, b"5\r\nhello\r\n")),
        peers.answers_and_closes(_replied(CHUNKED, b"zz\r\nhello\r\n")),
        peers.answers_and_closes(_replied(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!")),
        peers.answers_and_closes(_with_length(b"this is no gzip", GZIP)),
        peers.answers_and_closes(b"SSH-2.0-OpenSSH_9.2\r\n"),
        peers.answers_and_closes(b"HTTP/2.0 200 OK\r\n\r\n"),
        peers.answers_and_closes(b"HTTP/1.1 999999 OK\r\n\r\n"),
        peers.answers_and_closes(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
        peers.answers_and_closes(b"\x00\xff\xfe garbage"),
        peers.resets_after(b""),
        peers.resets_after(_replied(b"Content-Length: 100\r\n", b"part")),
    ],
)
def test_what_is_no_proper_answer_is_broken_and_may_have_been_executed(
    outbound: OutboundClient, script: peers.Script
) -> None:
    with running(script) as peer, pytest.raises(Broken) as caught:
        send(outbound, peer.url())
    assert caught.value.sent is True
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    ("reply", "status", "body"),
    [
        (OK, 200, b"{}"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + OK, 200, b"{}"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b""),
        (_replied(CHUNKED, b"2;ext=1\r\n{}\r\n0\r\nTrailer: x\r\n\r\n"), 200, b"{}"),
        (_with_length(gzip.compress(b"{}", mtime=0), GZIP), 200, b"{}"),
        (b"HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n", 503, b""),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", 500, b"no"),
    ],
)
def test_proper_answers_of_every_kind(outbound: OutboundClient, reply: bytes, status: int, body: bytes) -> None:
    with running(peers.answers_and_closes(reply)) as peer:
        began = time.monotonic()
        answer = send(outbound, peer.url())
        took = time.monotonic() - began
    assert (answer.status, answer.body) == (status, body)
    assert 0 <= answer.duration_ms <= 1000 * took + 1, "rounded"


def test_an_answer_that_comes_before_the_body_was_taken_is_heard(outbound: OutboundClient) -> None:
    def refuses(peer: Peer, conn: socket.socket) -> None:
        conn.recv(1000)
        conn.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        conn.shutdown(socket.SHUT_WR)
        peer.wait()

    with running(refuses) as peer:
        assert send(outbound, peer.url(), body=bytes(200_000)).status == 413


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["", "http://169.254.169.254/", "file:///etc/passwd", "//127.0.0.1:1/"])
def test_redirects_are_answers_like_any_other(outbound: OutboundClient, status: int, location: str) -> None:
    with running(peers.answers(OK)) as elsewhere:
        location = location or elsewhere.url()
        reply = f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        with running(peers.answers(reply)) as peer:
            answer = send(outbound, peer.url(), headers={"Authorization": "Bearer secret"})
    assert (answer.status, answer.headers["location"]) == (status, location)
    assert elsewhere.connections == 0


def test_what_cannot_be_reached_says_nothing_about_why() -> None:
    """A closed port and a name that does not exist sound alike, and neither was sent to."""

    def resolve(host: str, port: int) -> Sequence[str]:
        if host == "missing.example":
            raise socket.gaierror(-2, "Name or service not known")
        return [] if host == "empty.example" else ["127.0.0.1"]

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        outbound, port = OutboundClient(LOOPBACK, user_agent="test", resolve=resolve), closed.getsockname()[1]
        seen = set()
        for host in ("closed.example", "missing.example", "empty.example", "127.0.0.1"):
            with pytest.raises(PeerUnreachable) as caught:
                send(outbound, f"http://{host}:{port}/")
            seen.add((caught.value.message, caught.value.sent))
    assert seen == {("No connection could be made.", False)}


# -- names -------------------------------------------------------------------------------------------------------


def _resolving_to(*answers: Sequence[str], allow: Any = LOOPBACK) -> tuple[OutboundClient, list[str]]:
    """A outbound whose resolver gives one answer after the other, and a log of what it was asked."""
    left, asked = itertools.chain(answers, itertools.repeat(answers[-1])), []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return next(left)

    return OutboundClient(allow, user_agent="test", resolve=resolve), asked


def test_rebinding_between_creation_and_connecting_is_refused() -> None:
    with running(peers.answers(OK)) as peer:
        outbound, _ = _resolving_to(["127.0.0.1"], allow=())
        url = peer.url(host="rebind.example", scheme="https").replace(f":{peer.port}", "")
        assert outbound.check_url(url)
        with pytest.raises(Refused):
            send(outbound, url)
    assert peer.connections == 0


def test_what_was_checked_is_what_is_connected_to() -> None:
    """One question per connection: there is no second answer that could differ from the first."""
    with running(peers.answers(OK)) as peer:
        outbound, asked = _resolving_to(["127.0.0.1"], ["169.254.169.254"])
        url = peer.url(host="tool.example")
        assert send(outbound, url).status == 200
        assert send(outbound, url).status == 200  # the same connection: the peer that was checked
        assert (peer.connections, asked) == (1, ["tool.example"])
        assert peers.headers(peer.requests[0])["host"] == f"tool.example:{peer.port}"
        outbound._adapter.poolmanager.clear()
        with pytest.raises(Refused):
            send(outbound, url)


@pytest.mark.parametrize("answers", [["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"]])
def test_mixed_answers_are_refused_at_connecting(answers: list[str]) -> None:
    with running(peers.answers(OK)) as peer:
        outbound, _ = _resolving_to(answers)
        with pytest.raises(Refused):
            send(outbound, peer.url(host="mixed.example"))
    assert peer.connections == 0


def test_the_next_address_is_tried_but_not_three_hundred() -> None:
    dead = [f"127.0.1.{n}" for n in range(1, 250)]
    with running(peers.answers(OK)) as peer:
        outbound, _ = _resolving_to([*dead[:2], "127.0.0.1"], [*dead, "127.0.0.1"])
        assert send(outbound, peer.url(host="some.example")).status == 200
        with pytest.raises(PeerUnreachable):
            send(outbound, peer.url(host="many.example"))


def test_ipv6_only() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with running(peers.answers(OK), host="::1") as peer:
        outbound, _ = _resolving_to(["::1"])
        assert send(outbound, peer.url(host="six.example")).status == 200
        assert send(outbound, peer.url(host="[::1]")).status == 200
        assert peers.headers(peer.requests[1])["host"] == f"[::1]:{peer.port}"


def test_a_name_that_hangs_costs_one_thread_and_delays_no_other() -> None:
    over = threading.Event()

    def resolve(host: str, port: int) -> Sequence[str]:
        if host == "silent.example":
            over.wait(30)
        return ["127.0.0.1"]

    outbound = OutboundClient(LOOPBACK, user_agent="test", resolve=resolve)
    with running(peers.answers(OK)) as peer, ThreadPoolExecutor(8) as pool:
        stuck = [pool.submit(send, outbound, "http://silent.example/", timeout=1) for _ in range(8)]
        assert send(outbound, peer.url(host="quick.example")).status == 200
        assert all(isinstance(f.exception(), TimedOut) for f in stuck)
        assert eventually(lambda: len(_threads()) == 1)
    over.set()


# -- connections -------------------------------------------------------------------------------------------------


def test_connections_are_kept_alive_and_shared_by_threads(outbound: OutboundClient) -> None:
    """Nobody gets another's answer, and no more connections are made than calls at once."""

    def echoes(peer: Peer, conn: socket.socket) -> None:
        while request := peer.read(conn):
            body = request.partition(b"\r\n\r\n")[2]
            conn.sendall(_with_length(body))

    def calls(n: int) -> bool:
        bodies = [f"{n}-{i}".encode() for i in range(20)]
        return all(send(outbound, peer.url(), body=body).body == body for body in bodies)

    with running(echoes) as peer, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(calls, range(8)))
        assert len(peer.requests) == 160
        assert peer.connections <= 8


def test_a_connection_that_the_peer_has_closed_is_not_used_again(outbound: OutboundClient) -> None:
    with running(peers.answers_and_closes(OK)) as peer:
        for _ in range(3):
            assert send(outbound, peer.url()).status == 200
            peer.threads[-1].join(10)  # it has closed
        assert (peer.connections, len(peer.requests)) == (3, 3)


def test_idle_connections_are_dropped(outbound: OutboundClient, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = _sockets()
    with running(peers.answers(OK)) as peer:
        send(outbound, peer.url())
        monkeypatch.setattr(pools, "MAX_IDLE", 0.0)
        send(outbound, peer.url())
        assert peer.connections == 2
        assert _sockets_to([peer.url()], earlier) == 1
        outbound._adapter.close_stale()
        assert _sockets_to([peer.url()], earlier) == 0


def test_a_dead_connection_that_took_nothing_is_replaced(outbound: OutboundClient) -> None:
    with running(peers.answers(OK)) as peer:
        send(outbound, peer.url())
        _make_unwritable(outbound)
        assert send(outbound, peer.url()).status == 200
        assert (peer.connections, len(peer.requests)) == (2, 2)


def _make_unwritable(outbound: OutboundClient) -> None:
    """The idle connection of this outbound looks alive, but takes not one byte."""

    class Dead(socket.socket):
        def send(self, *_: Any) -> int:
            raise BrokenPipeError

    pool_by_host = outbound._adapter.poolmanager.pools
    (pool,) = (pool_by_host.get(host) for host in pool_by_host.keys())  # noqa: SIM118
    (connection,) = pool.pool._connections
    connection.sock = Dead(fileno=connection.sock.detach())


def test_a_request_that_may_have_been_executed_is_not_repeated(outbound: OutboundClient) -> None:
    def answers_once(peer: Peer, conn: socket.socket) -> None:
        peer.read(conn)
        conn.sendall(OK)
        peer.read(conn)

    with running(answers_once) as peer:
        send(outbound, peer.url())
        with pytest.raises(Broken) as caught:
            send(outbound, peer.url())
        assert caught.value.sent is True
        assert (peer.connections, len(peer.requests)) == (1, 2)


def test_nothing_is_left_behind() -> None:
    """Neither descriptors nor threads, after everything that can go wrong."""
    scripts: list[peers.Script] = [
        peers.answers(OK),
        peers.hangs,
        peers.pours(_replied(b""), bytes(4096)),
        peers.resets_after(_replied(b"Content-Length: 100\r\n", b"part")),
        peers.answers_and_closes(b"garbage"),
        peers.answers_and_closes(_with_length(b"x")),
    ]
    earlier = _sockets()
    with contextlib.ExitStack() as stack:
        all_peers = [stack.enter_context(running(script)) for script in scripts]
        urls = [peer.url() for peer in all_peers]
        hanging = {urls[1], "https" + urls[1][4:]}
        urls += ["https" + urls[1][4:], "http://127.0.0.1:1/"]
        outbound = OutboundClient(LOOPBACK, user_agent="test")
        open_after_each_round = []
        for _ in range(4):
            for url in urls:
                with contextlib.suppress(OutboundError):
                    send(outbound, url, timeout=0.15 if url in hanging else 10, max_bytes=10)
            open_after_each_round.append(_sockets_to(urls, earlier))
            all_peers[-1].served()  # else the next round may use the connection that is about to be closed
        assert set(open_after_each_round[1:]) == {2}  # kept alive: the one proper peer, and the one that closed later
        outbound.close()
        assert _sockets_to(urls, earlier) == 0
    assert eventually(lambda: not _threads())


def eventually(true: Callable[[], bool], within: float = 20.0) -> bool:
    deadline = time.monotonic() + within
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


def _threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("outbound-dns")]


def _sockets_to(urls: list[str], earlier: set[str]) -> int:
    """Open sockets of this process, but for those of `earlier`, that were connected to one of these ports.

    The kernel gives a port of an earlier test to a new listener, also while somebody still has the other end of a
    connection to it.
    """
    ports = {int(url.rstrip("/").rpartition(":")[2]) for url in urls}
    return sum(
        _far_port(fd) in ports for fd, name in _descriptors() if name.startswith("socket:") and name not in earlier
    )


def _sockets() -> set[str]:
    return {name for _, name in _descriptors()}


def _descriptors() -> Iterator[tuple[int, str]]:
    """Of this process, each with the kernel's name of what it is."""
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            yield int(fd.name), str(fd.readlink())


def _far_port(fd: int) -> int | None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as same:
        return None if same.family == socket.AF_UNIX else int(same.getpeername()[1])
    return None


# -- what is sent along ------------------------------------------------------------------------------------------


def test_what_a_peer_sees(outbound: OutboundClient) -> None:
    with running(peers.answers(OK)) as peer:
        send(outbound, peer.url("/a?b=1"), headers={"Content-Type": "application/json"}, body=b'{"a":1}')
        send(outbound, peer.url("/q?x=1"), "GET", body=None, params=[("t", "ä&b=c"), ("t", "2")], headers={"X-A": "é"})
        send(outbound, peer.url("/d"), "DELETE", body=None)
    post, get, delete = peer.requests
    assert post.startswith(b"POST /a?b=1 HTTP/1.1\r\n")
    assert post.endswith(b'\r\n\r\n{"a":1}')
    assert peers.headers(post) == {
        "host": f"127.0.0.1:{peer.port}",
        "user-agent": "joyfull-test/1",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": "7",
    }
    assert get.startswith(b"GET /q?x=1&t=%C3%A4%26b%3Dc&t=2 HTTP/1.1\r\n")
    assert peers.headers(get)["x-a"] == "é"
    assert "content-length" not in peers.headers(get)
    assert delete.startswith(b"DELETE /d HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "a\r\nX-B: b"),
        ("X-A", "a\nb"),
        ("X-A", "a\rb"),
        ("X-A", "a\x00b"),
        ("X-A", "a\r\n b"),
        ("X-A", " a"),
        ("X-A", "a\n"),
        ("X-A", "€"),
        ("X-A\r\nX-B", "b"),
        ("X A", "b"),
        ("X-A:", "b"),
        ("", "b"),
        ("Ä", "b"),
        ("Host", "evil.example"),
        ("content-length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
        ("Proxy-Authorization", "x"),
    ],
)
def test_headers_that_would_say_something_else_are_refused(outbound: OutboundClient, name: str, value: str) -> None:
    with running(peers.answers(OK)) as peer, pytest.raises(Refused):
        send(outbound, peer.url(), headers={name: value})
    assert peer.connections == 0


def test_nothing_comes_from_the_environment(
    outbound: OutboundClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login canary password canary\ndefault login canary password x\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with running(peers.answers(OK)) as proxy, running(peers.answers(OK)) as peer:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url())
        send(outbound, peer.url())
        with pytest.raises(PeerUnreachable):
            send(outbound, "https://127.0.0.1:1/")
    assert proxy.connections == 0
    assert "authorization" not in peers.headers(peer.requests[0])


def test_cookies_are_forgotten(outbound: OutboundClient) -> None:
    reply = OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: canary=1; Path=/\r\n\r\n")
    with running(peers.answers(reply)) as peer:
        assert send(outbound, peer.url()).headers["set-cookie"] == "canary=1; Path=/"
        send(outbound, peer.url())
    assert all("cookie" not in peers.headers(request) for request in peer.requests)
