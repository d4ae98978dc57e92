"""The `flask` commands for operators: migrations, and the groups in `GROUPS`."""

from __future__ import annotations

from pathlib import Path

import click
from flask import Flask
from flask_migrate import Migrate

from common import models
from common.kit import db
from common.settings import Settings
from web.cli.books import books
from web.cli.openapi import openapi
from web.cli.operations import doctor, instance, roles, secrets
from web.cli.receipts import receipts
from web.cli.tools import tools
from web.cli.users import admin, users

MIGRATIONS = Path(__file__).resolve().parent.parent.parent / "migrations"

#: Commands and groups of the platform (`flask --app wsgi <group> …`). Add new ones here.
GROUPS: list[click.Command] = [admin, books, doctor, instance, openapi, receipts, roles, secrets, tools, users]


class MigrationDatabase:
    """The interface that Flask-Migrate needs: metadata and an engine."""

    metadata = models.Base.metadata

    def __init__(self, settings: Settings) -> None:
        self._url, self._shared = settings.database_url, settings.shares_connections

    @property
    def engine(self) -> object:
        """An engine without the timeouts of the serving processes; `migrations/env.py` sets its own."""
        if self._shared:
            raise click.UsageError(
                "Migrations need PostgreSQL itself: set DATABASE_URL to it, and DATABASE_POOLING=session."
            )
        return db.make_engine(
            self._url, pool_size=1, application_name="joyfull-migrate", options="-c timezone=UTC -c jit=off"
        )


def register(app: Flask, settings: Settings) -> None:
    """Register the commands with the app."""
    Migrate(
        app, MigrationDatabase(settings), directory=str(MIGRATIONS), render_as_batch=False, compare_server_default=True
    )
    for group in GROUPS:
        app.cli.add_command(group)
