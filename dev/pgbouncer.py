"""A private PgBouncer in transaction mode, if installed, as `ops/pgbouncer` configures it.

A separate process with its own socket, in front of a private PostgreSQL.
"""

from __future__ import annotations

import shutil
import socket
from configparser import RawConfigParser
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from dev import process
from dev.servers import Server, ServerError

CONFIGURATION = Path(__file__).resolve().parent.parent / "ops" / "pgbouncer" / "pgbouncer.ini"
#: As PostgreSQL's own: it is the name of its socket.
PORT = 5432


class PgBouncer(Server):
    """In front of the database of `url`, which is on a Unix socket, with at most `connections` to it.

    Raises `ServerError` if PgBouncer is not installed.
    """

    name = "pgbouncer"
    never_root = True

    def __init__(self, directory: Path, url: str, *, connections: int = 40) -> None:
        super().__init__(directory / "pgbouncer")
        found = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin") or shutil.which("pgbouncer")
        if found is None:
            raise ServerError("PgBouncer is not installed")
        self.binary, self._connections = found, connections
        parts = urlsplit(url)
        self.database, self._user = parts.path.lstrip("/"), parts.username or "postgres"
        self._postgres = parse_qs(parts.query)["host"][0]

    def url(self) -> str:
        return f"postgresql://{self._user}@:{PORT}/{self.database}?host={quote(str(self.sockets), safe='/')}"

    def start(self) -> None:
        self.directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        process.own(self.directory)
        with (self.directory / "pgbouncer.ini").open("w") as file:
            self._configuration().write(file)
        super().start()

    def _configuration(self) -> RawConfigParser:
        """As it is shipped, with our places."""
        as_shipped = RawConfigParser(comment_prefixes=(";",))
        as_shipped.read(CONFIGURATION)
        limits = as_shipped["databases"]["joyfull"].partition("connect_query=")[2]
        database = f"host={self._postgres} dbname={self.database} user={self._user} connect_query={limits}"
        as_shipped["databases"] = {self.database: database}
        as_shipped["pgbouncer"].update(
            {
                "listen_addr": "",
                "listen_port": str(PORT),
                "unix_socket_dir": str(self.sockets),
                "logfile": "",
                "pidfile": "",
                "auth_type": "any",
                "auth_file": "",
                "default_pool_size": str(self._connections),
            }
        )
        return as_shipped

    def command(self) -> list[str | Path]:
        return [self.binary, self.directory / "pgbouncer.ini"]

    def is_ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.sockets / f".s.PGSQL.{PORT}")) == 0
