"""The network between us and a server, which can lose an answer, or everything: proxies on Unix sockets.

`lose_next(marker)`: the next statement that contains `marker` reaches the server and is carried out; its answer is
lost, and the connection with it. `cut_after(n)`: so many messages more reach the server, then it is gone altogether.
`lost` counts such answers, `sent` the bytes that came from the server.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, quote, urlsplit

from common import boot
from common.settings import Settings

NAME = ".s.PGSQL.5432"


class Proxy:
    """Between `url` (a private server on a Unix socket) and whoever connects to `self.url`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = str(Path(parse_qs(parts.query)["host"][0]) / NAME)
        self._directory = tempfile.TemporaryDirectory(prefix="proxy-")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(Path(self._directory.name) / NAME))
        self._listener.listen(64)
        self._marker: bytes | None = None
        self._lock = threading.Lock()
        self._left: int | None = None
        self.lost = 0
        self.sent = 0
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path}?host={quote(self._directory.name, safe='/')}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._listener.close()
        self._directory.cleanup()

    def lose_next(self, marker: str) -> None:
        self._marker = marker.encode()

    def cut_after(self, messages: int) -> None:
        self._left = messages

    def heal(self) -> None:
        """The server is there again."""
        self._left = None

    def _is_gone(self) -> bool:
        """Count one message, when they are counted."""
        with self._lock:
            if self._left is None:
                return False
            self._left -= 1
            return self._left < 0

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            doomed = threading.Event()
            threading.Thread(target=self._up, args=(client, server, doomed), daemon=True).start()
            threading.Thread(target=self._down, args=(client, server, doomed), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, doomed: threading.Event) -> None:
        try:
            while data := client.recv(1 << 16):
                with self._lock:
                    if self._marker and self._marker in data:
                        self._marker = None
                        doomed.set()
                if self._is_gone():
                    break
                server.sendall(data)
        except OSError:
            pass
        finally:
            _close(server)
            _close(client)

    def _down(self, client: socket.socket, server: socket.socket, doomed: threading.Event) -> None:
        try:
            while data := server.recv(1 << 16):
                if doomed.is_set():
                    time.sleep(0.05)  # the implicit transaction commits behind the rows that it sends
                    self.lost += 1
                    break
                self.sent += len(data)
                client.sendall(data)
        except OSError:
            pass
        finally:
            _close(client)
            _close(server)


@contextlib.contextmanager
def before_postgresql(settings: Settings) -> Iterator[Proxy]:
    """This process behind a proxy, for as long as the block lasts."""
    with Proxy(settings.database_url) as proxy:
        boot.connect(replace(settings, database_url=proxy.url), process="test", pool_size=20)
        yield proxy
    boot.connect(settings, process="test", pool_size=20)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


class Silencer:
    """Between a server on a Unix socket and whoever connects to `self.url`: bytes can get lost on the way.

    `swallow()`: from now on nothing comes through, and nobody is told. `heal()`: new connections are whole again;
    those from before stay silent.
    """

    def __init__(self, server: Path) -> None:
        self._server = server
        self._directory = tempfile.TemporaryDirectory(prefix="proxy-")
        path = Path(self._directory.name) / "redis.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._swallowing = False
        self._doomed: list[threading.Event] = []
        self.url = f"unix://{quote(str(path), safe='/')}"

    def __enter__(self) -> Silencer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._listener.close()
        self._directory.cleanup()

    def swallow(self) -> None:
        self._swallowing = True
        for each in self._doomed:
            each.set()

    def heal(self) -> None:
        self._swallowing = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._server))
            doomed = threading.Event()
            if self._swallowing:
                doomed.set()
            self._doomed.append(doomed)
            threading.Thread(target=_carry, args=(client, server, doomed), daemon=True).start()
            threading.Thread(target=_carry, args=(server, client, doomed), daemon=True).start()


def _carry(source: socket.socket, target: socket.socket, doomed: threading.Event) -> None:
    try:
        while data := source.recv(1 << 16):
            if not doomed.is_set():
                target.sendall(data)
    except OSError:
        pass
    finally:
        _close(target)
