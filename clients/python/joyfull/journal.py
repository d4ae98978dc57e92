"""The journal: what was submitted under which name, on disk before the first byte leaves.

SQLite with `synchronous=FULL`, in a file that only its owner can read, shared by any number of processes. A name is a
promise that the caller makes: the same name means the same order.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from joyfull.errors import NameReused

if TYPE_CHECKING:
    import sqlite3

#: Keys live 24 hours; an hour less, for clocks that disagree and requests under way.
KEY_LIVES = timedelta(hours=23)
_TABLE = """create table if not exists submits (
  server text not null, name text not null, key text not null, fingerprint text not null,
  first_try text not null, invocation text, primary key (server, name))"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the journal knows of one name."""

    name: str
    key: str
    first_try: datetime
    invocation: str | None

    def key_lives(self, now: datetime) -> bool:
        """Whether the server surely still knows the key, if it ever accepted it."""
        return now - self.first_try < KEY_LIVES


def fingerprint(tool: str, body: bytes) -> str:
    """What must be the same for the same name."""
    return hashlib.sha256(tool.encode() + b"\0" + body).hexdigest()


class Journal:
    """One file. Every change is on disk when its method returns."""

    def __init__(self, path: Path, server: str) -> None:
        self.path = path
        self._server = server

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        sqlite = import_module("sqlite3")  # most programs keep no journal
        with closing(sqlite.connect(self.path, timeout=30, isolation_level=None)) as connection:
            connection.execute("pragma synchronous = full")
            connection.execute("begin immediate")
            connection.execute(_TABLE)
            yield connection
            connection.execute("commit")

    def begin(self, name: str, new_key: str, marked: str, now: datetime) -> Entry:
        """The entry of a name, made if there is none. Raises NameReused if it is that of another order."""
        with self._opened() as connection:
            connection.execute(
                "insert into submits values (?, ?, ?, ?, ?, null) on conflict do nothing",
                (self._server, name, new_key, marked, now.isoformat()),
            )
            query = "select key, fingerprint, first_try, invocation from submits where server = ? and name = ?"
            key, kept, first_try, invocation = connection.execute(query, (self._server, name)).fetchone()
        if kept != marked:
            raise NameReused(
                f"{name!r} is the name of another submit (another tool, or another body); nothing was sent"
            )
        return Entry(name, key, datetime.fromisoformat(first_try), invocation)

    def accepted(self, entry: Entry, invocation: str) -> None:
        """Remember which invocation it became."""
        with self._opened() as connection:
            connection.execute(
                "update submits set invocation = ? where server = ? and name = ? and key = ?",
                (invocation, self._server, entry.name, entry.key),
            )

    def renewed(self, entry: Entry, new_key: str, now: datetime) -> Entry:
        """A new key for a name that was never accepted; the one that another process has given it by now."""
        with self._opened() as connection:
            connection.execute(
                "update submits set key = ?, first_try = ? where server = ? and name = ? and key = ?",
                (new_key, now.isoformat(), self._server, entry.name, entry.key),
            )
            query = "select key, first_try, invocation from submits where server = ? and name = ?"
            key, first_try, invocation = connection.execute(query, (self._server, entry.name)).fetchone()
        return Entry(entry.name, key, datetime.fromisoformat(first_try), invocation)
