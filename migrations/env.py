"""How migrations run: one at a time across the whole fleet, and never waiting long for a lock that traffic holds."""

from __future__ import annotations

import logging
from collections.abc import Callable

from alembic import context
from alembic.operations.ops import MigrationScript
from flask import current_app
from sqlalchemy import Connection, text

#: Any constant will do; every migrator of this database takes the same one.
FLEET_LOCK = 7_236_118_204_881
#: A migration that cannot get its lock fails and is run again, instead of making all traffic queue up behind it.
LOCK_TIMEOUT = "5s"

logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)


def run() -> None:
    migrate = current_app.extensions["migrate"]
    with migrate.db.engine.connect() as connection:
        connection.detach()  # not into the pool: the lock and the time-out end with the session
        _take_turns(connection)
        context.configure(
            connection=connection,
            target_metadata=migrate.db.metadata,
            include_name=_ignoring(_partitions(connection)),
            process_revision_directives=_drop_empty,
            transaction_per_migration=True,
            **migrate.configure_args,
        )
        with context.begin_transaction():
            context.run_migrations()


def _take_turns(connection: Connection) -> None:
    connection.execute(text("select pg_advisory_lock(:key)"), {"key": FLEET_LOCK})
    connection.execute(text(f"set lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.commit()


def _partitions(connection: Connection) -> set[str]:
    """Partitions come and go with the months; the models know only the table that they belong to."""
    names = set(connection.scalars(text("select relname from pg_class where relispartition")))
    connection.rollback()
    return names


def _ignoring(names: set[str]) -> Callable[[str | None, str, object], bool]:
    def include(name: str | None, kind: str, _parents: object) -> bool:
        return not (kind == "table" and name in names)

    return include


def _drop_empty(_context: object, _revision: object, directives: list[MigrationScript]) -> None:
    """`db migrate` writes no revision when nothing has changed."""
    upgrade = directives[0].upgrade_ops if directives else None
    if getattr(context.config.cmd_opts, "autogenerate", False) and upgrade is not None and upgrade.is_empty():
        directives.clear()


run()
