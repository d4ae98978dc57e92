"""The test application behind a real gunicorn, one per xdist worker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = ROOT / "web" / "gunicorn.conf.py"
#: Web processes that share one port, where it matters which one answers.
PROCESSES = 2


class Service:
    """A running web process, its log, and a client that knows its address."""

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self.base = f"http://127.0.0.1:{port}"
        self.log = log
        self._session = requests.Session()

    def __call__(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Send one request; repeat it if the response is cut off by a connection reset.

        After 413 the server closes the connection immediately, and body data that arrives afterwards causes a reset.
        """
        for _ in range(9):
            with suppress(requests.exceptions.ChunkedEncodingError):
                return self._session.request(method, self.base + path, timeout=20, **kwargs)
        return self._session.request(method, self.base + path, timeout=20, **kwargs)

    def raw(self, request: bytes, *, wait: float = 5.0) -> bytes:
        """Send raw bytes, and read until the server closes or has sent nothing for `wait` seconds."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as connection:
            connection.sendall(request)
            return read_all(connection)

    def raw_to_the_end(self, request: bytes) -> bytes:
        """Send raw bytes, and read until the server closes. Raises `TimeoutError` if it leaves the connection open."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(request)
            return read_to_the_end(connection)

    def logged(self, request_id: str) -> str:
        """The log lines of one request; waits for them, since they are written after the response."""
        give_up = time.monotonic() + 5
        while time.monotonic() < give_up:
            lines = [line for line in self.log.read_text().splitlines() if request_id in line]
            if lines:
                return "\n".join(lines)
            time.sleep(0.02)
        raise AssertionError(f"nothing was logged for {request_id}")


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes, or has sent nothing for the connection's timeout."""
    received = b""
    with suppress(TimeoutError, ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def read_to_the_end(connection: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


@contextmanager
def serving(
    environ: dict[str, str], directory: Path, app: str = "tests.web.things:app", **changes: str
) -> Iterator[Service]:
    """gunicorn with the project's own configuration, until the block ends.

    It inherits a listening socket, so that no other process can take the port in between. Connections that are made
    before gunicorn has the socket inherit its options too.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    port = listener.getsockname()[1]
    metrics = directory / f"metrics-{port}"
    metrics.mkdir()
    env = {
        **environ,
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "WEB_PROCESSES": "1",
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        **changes,
    }
    service = Service(port, directory / f"web-{port}.log")
    command = [sys.executable, "-m", "gunicorn", "--config", str(CONFIG), "--bind", f"fd://{listener.fileno()}", app]
    with service.log.open("w") as log, listener:
        child = subprocess.Popen(
            command, cwd=ROOT, env=env, stderr=log, stdout=log, start_new_session=True, pass_fds=[listener.fileno()]
        )
    try:
        _wait(service, child)
        yield service
    finally:
        with suppress(ProcessLookupError):  # it may have failed to start: see its log
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _wait(service: Service, child: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and child.poll() is None:
        try:
            if service("GET", "/health").status_code == 200:
                return
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.05)
    raise AssertionError(f"the web process did not come up:\n{service.log.read_text()}")


@pytest.fixture(scope="session")
def service(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The test application, served as in production."""
    with serving(environ, tmp_path_factory.mktemp("web")) as running:
        yield running


class Pair(NamedTuple):
    """Two web processes on one port, and the directory in which their failpoints are armed."""

    service: Service
    failpoints: Path

    def arm(self, point: str, action: str) -> None:
        """The first process that reaches this failpoint does it, once."""
        (self.failpoints / point).write_text(action)


@pytest.fixture(scope="package")
def pair(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("one-key")
    points = directory / "failpoints"
    points.mkdir()
    changes = {"WEB_PROCESSES": str(PROCESSES), "FAILPOINTS": f"dir={points}"}
    with serving(environ, directory, "wsgi:app", **changes) as service:
        yield Pair(service, points)
