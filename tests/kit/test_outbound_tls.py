"""TLS through the outbound client: the name that was asked for is the name that is proved, or nothing is sent."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from common.kit.outbound import Aborted, Answer, Call, OutboundClient, PeerUnreachable, TimedOut
from common.kit.outbound.wire import tls_context
from tests.certificates import Authority
from tests.kit import peers
from tests.kit.peers import OK, Peer, aborting, ending, running

LOOPBACK = (ip_network("127.0.0.0/8"),)
HOST = "tool.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def outbound(authority: Authority) -> Iterator[OutboundClient]:
    outbound = OutboundClient(
        LOOPBACK, user_agent="test", resolve=lambda _h, _p: ["127.0.0.1"], ca_file=authority.ca_file
    )
    yield outbound
    outbound.close()


def send(outbound: OutboundClient, url: str, *, timeout: float = 20, call: Call | None = None) -> Answer:
    return outbound.request("POST", url, headers={}, body=b"{}", timeout=timeout, max_bytes=1000, call=call)


def test_the_original_name_is_in_host_sni_and_certificate(outbound: OutboundClient, authority: Authority) -> None:
    context, seen = authority.context(HOST, "127.0.0.1"), []
    context.sni_callback = lambda _socket, name, _context: seen.append(name)
    with running(peers.answers(OK), context=context) as peer:
        for _ in range(2):
            assert send(outbound, peer.url(host=HOST)).body == b"{}"
        assert peer.connections == 1
        assert peers.headers(peer.requests[0])["host"] == f"{HOST}:{peer.port}"
        assert send(outbound, peer.url()).status == 200  # an address proves itself by address
    assert seen[0] == HOST


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(("name", "days"), [("other.example", 10), (HOST, -1)])
def test_a_certificate_that_does_not_prove_the_name_is_refused(
    outbound: OutboundClient, authority: Authority, name: str, days: int, own: bool
) -> None:
    with running(peers.answers(OK), context=authority.context(name, days=days, own=own)) as peer:
        with pytest.raises(PeerUnreachable, match="certificate was not accepted") as caught:
            send(outbound, peer.url(host=HOST))
        assert caught.value.sent is False
        assert peer.requests == []


def test_an_unknown_authority_is_refused(authority: Authority) -> None:
    stranger = OutboundClient(LOOPBACK, user_agent="test", resolve=lambda _h, _p: ["127.0.0.1"])
    with running(peers.answers(OK), context=authority.context(HOST)) as peer:
        with pytest.raises(PeerUnreachable, match="certificate was not accepted"):
            send(stranger, peer.url(host=HOST))
        assert peer.requests == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(outbound: OutboundClient, authority: Authority) -> None:
    context = authority.context(HOST)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with running(peers.answers(OK), context=context) as peer:
        with pytest.raises(PeerUnreachable) as caught:
            send(outbound, peer.url(host=HOST))
        assert (peer.requests, caught.value.sent) == ([], False)
    assert tls_context().minimum_version == ssl.TLSVersion.TLSv1_2  # also where the system's OpenSSL is more lenient


def test_there_is_no_falling_back_to_plain_http(outbound: OutboundClient) -> None:
    def answers_anything(peer: Peer, conn: socket.socket) -> None:
        peer.requests.append(conn.recv(65_536))
        conn.sendall(OK)

    with running(answers_anything) as peer:
        with pytest.raises(PeerUnreachable, match="No TLS connection"):
            send(outbound, peer.url(host=HOST, scheme="https"))
        assert len(peer.requests) == 1
        assert b"HTTP" not in peer.requests[0]


def test_the_deadline_and_aborting_hold_within_tls(outbound: OutboundClient, authority: Authority) -> None:
    script = peers.drips(b"HTTP/1.1 200 OK\r\n\r\n", b"x")
    with running(script, context=authority.context(HOST)) as peer:
        with pytest.raises(TimedOut) as late, ending("a call of 1.5 s"):
            send(outbound, peer.url(host=HOST), timeout=1.5)
        call = Call()
        with aborting(call), pytest.raises(Aborted) as aborted, ending("an aborted call"):
            send(outbound, peer.url(host=HOST), call=call, timeout=3600)
        assert (late.value.sent, aborted.value.sent) == (True, True)
