"""The line between a client and a server: it can be cut, or fall silent, and be mended."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class Line:
    """Carries connections to a port of this machine. While it is cut, nothing answers, and what was open is reset.

    While it is silent, bytes are lost and nobody is told; connections of that time stay silent for good.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: set[socket.socket] = set()
        self._cut = False
        self._silent = False
        self._lossy: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Line:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """From now on, until it is mended."""
        self._cut = True
        for end in list(self._ends):
            _close(end)

    def silence(self) -> None:
        """From now on, until it is mended."""
        self._silent = True
        self._lossy |= self._ends

    def mend(self) -> None:
        """New connections are carried again."""
        self._cut = self._silent = False

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the end of this line
            while True:
                client, _ = self._listener.accept()
                if not self._connected(client):
                    _close(client)

    def _connected(self, client: socket.socket) -> bool:
        """Whether there is a server for it."""
        if self._cut:
            return False
        try:
            server = socket.create_connection(("127.0.0.1", self._port))
        except OSError:
            return False
        self._ends |= {client, server}
        self._lossy |= {client, server} if self._silent else set()
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._carry, args=(source, target), daemon=True).start()
        return True

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if source not in self._lossy:
                    target.sendall(data)
        for end in (source, target):
            _close(end)
        self._ends -= {source, target}


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
