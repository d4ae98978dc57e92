"""Peers that behave as badly as they are told: raw sockets on loopback, one thread per connection."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from common.kit.outbound import Call

Script = Callable[["Peer", socket.socket], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Peer:
    """A listener that runs `script` on each connection. `requests` holds every request that came in whole."""

    script: Script
    context: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    backlog: int = 128
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.bind((self.host, 0))
        self.listener.listen(self.backlog)
        self.port: int = self.listener.getsockname()[1]
        self.open: list[socket.socket] = []
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def url(self, path: str = "/", host: str | None = None, scheme: str | None = None) -> str:
        scheme = scheme or ("https" if self.context else "http")
        return f"{scheme}://{host or self.host}:{self.port}{path}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.listener.accept()
                self.connections += 1
                self.open.append(conn)
                thread = threading.Thread(target=self._serve, args=(conn,), daemon=True)
                self.threads.append(thread)
                thread.start()

    def _serve(self, conn: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            if self.context is not None:
                conn = self.context.wrap_socket(conn, server_side=True)
                self.open.append(conn)
            with conn:
                self.script(self, conn)

    def read(self, conn: socket.socket) -> bytes:
        """One request, head and body; empty at the end of the connection."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = conn.recv(65_536)
            if not piece:
                return b""
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        length = next((int(v) for k, v in headers(head).items() if k == "content-length"), 0)
        while len(body) < length:
            body += conn.recv(65_536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def drip(self, conn: socket.socket, data: bytes) -> None:
        for byte in data:
            conn.sendall(bytes([byte]))
            if self.stopping.wait(0.02):
                return

    def wait(self) -> None:
        self.stopping.wait(60)

    def served(self) -> None:
        """Wait until the script has ended on every connection so far."""
        for thread in self.threads[1:]:
            thread.join(20)

    def stop(self) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for conn in self.open:
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
            conn.close()
        for thread in self.threads:
            thread.join(5)


def headers(request: bytes) -> dict[str, str]:
    """The headers of a request, names in lower case."""
    lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


# -- scripts -------------------------------------------------------------------------------------------------


def answers(*replies: bytes) -> Script:
    """Answers each request with the next reply, over and over, keeping the connection open."""

    def script(peer: Peer, conn: socket.socket) -> None:
        served = 0
        while peer.read(conn):
            conn.sendall(replies[served % len(replies)])
            served += 1

    return script


def answers_and_closes(reply: bytes) -> Script:
    def script(peer: Peer, conn: socket.socket) -> None:
        peer.read(conn)
        conn.sendall(reply)

    return script


def hangs(peer: Peer, conn: socket.socket) -> None:
    peer.read(conn)
    peer.wait()


def never_reads(peer: Peer, conn: socket.socket) -> None:
    peer.wait()


def drips(start: bytes, drop: bytes) -> Script:
    """Sends `start`, then `drop` byte by byte, for ever."""

    def script(peer: Peer, conn: socket.socket) -> None:
        peer.read(conn)
        conn.sendall(start)
        while not peer.stopping.is_set():
            peer.drip(conn, drop)

    return script


def pours(start: bytes, piece: bytes) -> Script:
    """Sends `start`, then `piece` for ever, as fast as it is taken."""

    def script(peer: Peer, conn: socket.socket) -> None:
        peer.read(conn)
        conn.sendall(start)
        while not peer.stopping.is_set():
            conn.sendall(piece)

    return script


def resets_after(data: bytes) -> Script:
    """Sends `data`, then RST."""

    def script(peer: Peer, conn: socket.socket) -> None:
        peer.read(conn)
        conn.sendall(data)
        time.sleep(0.05)  # let it arrive: a reset throws away what is still in flight
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        conn.close()

    return script


@contextlib.contextmanager
def aborting(call: Call, sent: bool = True) -> Iterator[None]:
    """Another thread aborts the call 0.2 s after it began; if `sent`, after its first bytes are out."""
    over = threading.Event()

    def abort() -> None:
        while sent and not call.sent and not over.wait(0.01):
            pass
        over.wait(0.2)
        call.abort()

    thread = threading.Thread(target=abort)
    thread.start()
    yield
    over.set()
    thread.join()


@contextlib.contextmanager
def ending(what: str) -> Iterator[None]:
    """Whoever does not come to an end in this block fails the test, instead of hanging for ever."""

    def give_up(_number: int, _frame: object) -> None:
        pytest.fail(f"it never ended: {what}")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def running(script: Script, **options: object) -> Iterator[Peer]:
    peer = Peer(script, **options)  # type: ignore[arg-type]
    try:
        yield peer
    finally:
        peer.stop()
