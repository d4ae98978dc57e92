"""Requests with much framing: large fields, trailers and very many chunks are refused, and others go on meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.web.conftest import Service
from tests.web.test_wire import GET, POST, assert_refused
from web.http.framing import FIELD_BYTES, FRAMING_BYTES

ROOT = Path(__file__).resolve().parents[2]
CHUNKED = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n"
BODY = b'{"name":"a"}'
#: In a process like web's: how often a greenlet that waits for its socket runs while a whole request is received.
UNDER_GEVENT = f"""
from gevent import monkey; monkey.patch_all()
import json, socket, gevent, gevent.socket
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from web.http.connections import ClientSocket
from web.http.framing import LimitedRequest
RequestParser.mesg_class, turns = LimitedRequest, [0]
def other():
    while True:
        gevent.socket.wait_read(readable.fileno())
        turns[0] += 1
readable, peer = socket.socketpair()
peer.send(b"x")
gevent.spawn(other)
gevent.sleep(0)
def counted(sent):
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)
    theirs.setblocking(False)
    assert theirs.send(sent) == len(sent), "all is there"
    theirs.close()
    before, request = turns[0], next(RequestParser(Config(), ClientSocket(ours), ("127.0.0.1", 1)))
    return len(request.body.read()), turns[0] - before
print(json.dumps({{
    "chunks": counted({CHUNKED!r} + b"\\r\\n" + b"1\\r\\n \\r\\n" * 5_000 + b"0\\r\\n\\r\\n"),
    "receives": counted({POST!r} + b"Content-Length: 150000\\r\\n\\r\\n" + b" " * 150_000),
}}))
"""


def fields(size: int, count: int = 4) -> bytes:
    """Header fields of so many bytes in all, with their line breaks."""
    lines = [b"X-%d: " % n + b"a," * (size // count // 2 - 10) for n in range(count)]
    return b"".join(
        line + b"\r\n" for line in [*lines[:-1], lines[-1] + b"a" * (size - sum(map(len, lines)) - 2 * count)]
    )


def chunks(*pieces: bytes, trailers: bytes = b"") -> bytes:
    sent = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"\r\n" + sent + b"0\r\n" + trailers + b"\r\n"


def spaces(count: int, extension: bytes = b"") -> bytes:
    """The body, after so many chunks of one space each."""
    return b"\r\n" + b"1%s\r\n \r\n" % extension * count + chunks(BODY)[2:]


HEAD = len(CHUNKED.partition(b"\r\n")[2])
FITTING = [
    ("fields", GET + fields(FIELD_BYTES + 2 - len(b"Host: x\r\n")) + b"\r\n"),
    ("trailers", CHUNKED + chunks(BODY, trailers=fields(FIELD_BYTES + 4 - HEAD))),
    ("5,000 chunks of a byte", CHUNKED + spaces(5_000)),
    ("30,000 chunks of 30 bytes", CHUNKED + chunks(*[b" " * 30] * 30_000, BODY)),
    ("4 kB of chunk extensions", CHUNKED + spaces(4, b";a=" + b"b" * 1024)),
]
EXCESSIVE = [
    ("fields", GET + fields(FIELD_BYTES + 4 - len(b"Host: x\r\n")) + b"\r\n", 431, "headers_too_large"),
    ("95 large fields", GET + fields(3 * FIELD_BYTES, 95), 431, "headers_too_large"),
    ("trailers", CHUNKED + chunks(BODY, trailers=fields(FIELD_BYTES + 6 - HEAD)), 431, "headers_too_large"),
    ("trailers without an end", CHUNKED + chunks(BODY)[:-2] + b"A: " + b"a" * 60_000, 431, "headers_too_large"),
    ("10,000 chunks of a byte", CHUNKED + spaces(10_000), 400, "malformed_request"),
    ("chunk extensions", CHUNKED + spaces(FRAMING_BYTES // 4096 + 3, b";a=" + b"b" * 4096), 400, "malformed_request"),
]


@pytest.mark.parametrize("request_", [row[1] for row in FITTING], ids=[row[0] for row in FITTING])
def test_what_fits(service: Service, request_: bytes) -> None:
    assert service.raw(request_)[8:].startswith((b" 200 ", b" 201 "))


@pytest.mark.parametrize(
    ("request_", "status", "code"), [row[1:] for row in EXCESSIVE], ids=[row[0] for row in EXCESSIVE]
)
def test_what_is_too_much(service: Service, request_: bytes, status: int, code: str) -> None:
    """And the connection is closed."""
    assert_refused(service.raw_to_the_end(request_), status, code)


def test_others_go_on_while_it_is_received() -> None:
    done = subprocess.run([sys.executable, "-c", UNDER_GEVENT], cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["chunks"][0], found["receives"][0]) == (5_000, 150_000)
    assert found["chunks"][1] >= 24
    assert found["receives"][1] >= 1
