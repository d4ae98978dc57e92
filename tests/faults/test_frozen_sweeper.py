"""Found by the fault run: a process that froze in the middle of its sweep kept the lock, and nobody else swept."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from common.kit.clock import uuid7
from common.operations import polling
from common.settings import Settings
from worker import sweeper


@pytest.fixture
def frozen(db: None, settings: Settings) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Somebody who has the lock, and does nothing."""
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (sweeper.LOCK,))
        yield connection


def test_dead_processes_are_reaped_although_the_lock_is_never_free(
    frozen: psycopg.Connection[tuple[object, ...]],
) -> None:
    dead = uuid7()
    frozen.execute(
        """insert into processes (id, kind, name, heartbeat_at, suspect_at)
           values (%s, 'worker', 'dead', now() - interval '1 hour', now() - interval '1 hour')""",
        (dead,),
    )
    for _ in range(sweeper.MAX_SKIPPED - 1):
        sweeper.every_second(polling.look(dead), 4)
        assert _known(frozen, dead), "others may be at it: not at once"
    sweeper.every_second(polling.look(dead), 4)
    assert not _known(frozen, dead)


def _known(connection: psycopg.Connection[tuple[object, ...]], process: UUID) -> bool:
    return bool(connection.execute("select 1 from processes where id = %s", (process,)).fetchone())
