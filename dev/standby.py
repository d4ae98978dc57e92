"""A streaming standby of a private PostgreSQL, for tests of failovers: a copy that follows, until it is promoted."""

from __future__ import annotations

from pathlib import Path

import psycopg
from psycopg import sql

from dev import process
from dev.servers import START_TIMEOUT, Postgres, ServerError

#: Waits for what the primary sends, and says what has arrived, at least once a second.
_FOLLOWING = {"hot_standby": "on", "wal_receiver_status_interval": "1s", "wal_retrieve_retry_interval": "200ms"}


class Standby(Postgres):
    """A copy of `primary`, which has to run when this is started for the first time.

    `through`: the directory of the socket at which the copy finds its primary (a proxy's, to cut the two apart).
    Asynchronous, unless the primary's `synchronous_standby_names` includes it (`*`).
    """

    def __init__(self, directory: Path, primary: Postgres, *, through: Path | None = None) -> None:
        super().__init__(directory, durable=primary.durable)
        self._primary, self._through = primary, through or primary.sockets

    def command(self) -> list[str | Path]:
        flags = [part for name, value in _FOLLOWING.items() for part in ("-c", f"{name}={value}")]
        return [*super().command(), *flags]

    def promote(self) -> None:
        """Make it a primary: with everything that it has received, and nothing else. Returns when it takes writes."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            row = connection.execute("select pg_promote(wait_seconds => 30)").fetchone()
        if row != (True,):
            raise ServerError(f"the standby was not promoted:\n{self._log_tail()}")

    def is_in_step(self) -> bool:
        """Whether the primary sends it what it writes."""
        with psycopg.connect(self._primary.url("postgres"), autocommit=True) as connection:
            return bool(connection.execute("select from pg_stat_replication where state = 'streaming'").fetchall())

    def _initdb(self) -> None:
        """Not a new cluster: the primary's, as it is."""
        self.directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        process.own(self.directory)
        follow = f"host={self._through} user=postgres dbname=replication"
        # A checkpoint (another standby begins with one too) would remove what is written before this one's slot exists.
        configure(self._primary, "wal_keep_size", "1GB")
        command: list[str | Path] = [self.binaries / "pg_basebackup", "--pgdata", self.data, "--dbname", follow]
        with self.log.open("ab") as log:
            made = process.spawn(
                [*command, "--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync"],
                log=log.fileno(),
                never_root=True,
            ).wait(4 * START_TIMEOUT)
        if made != 0:
            raise ServerError(f"pg_basebackup failed:\n{self._log_tail()}")


def configure(server: Postgres, name: str, value: str) -> None:
    """Change a setting of a running server, for good."""
    change = sql.SQL("alter system set {} = {}").format(sql.Identifier(name), sql.Literal(value))
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(change)
        connection.execute("select pg_reload_conf()")


def on_either(first: Postgres, second: Postgres, database: str = "joyfull") -> str:
    """The URL of whichever of the two takes writes."""
    hosts = f"{first.sockets},{second.sockets}"
    return f"postgresql://postgres@/{database}?host={hosts}&target_session_attrs=read-write"
