"""`flask --app wsgi secrets rotate`, `roles grant`, `instance …` and `doctor`: operating an installation."""

from __future__ import annotations

import sys

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from common.operations import database_roles as permissions
from common.operations import doctor as practice
from common.operations import instance as platform_instance
from common.operations import key_rotation

secrets = AppGroup("secrets", help="Manage encrypted secrets in the database.")
roles = AppGroup("roles", help="Manage the permissions of database roles.")
instance = AppGroup("instance", help="Manage the platform id of the database, Redis and the broker.")


@secrets.command()
def rotate() -> None:
    """Re-encrypt every stored secret with the newest of SECRETS_KEYS. After exit code 0, remove the older keys."""
    reencrypted = unreadable = 0
    for each in key_rotation.rotate():
        if each.readable:
            reencrypted += 1
        else:
            unreadable += 1
            click.echo(f"UNREADABLE  {each.column} of {each.key}: no key in SECRETS_KEYS can decrypt it")
    click.echo(f"{reencrypted} secrets encrypted with the newest key, {unreadable} unreadable.")
    if unreadable:
        sys.exit(1)


@roles.command()
@click.argument("role")
def grant(role: str) -> None:
    """Grant ROLE what the serving processes need: no DDL, and no changes to existing ledger rows.

    Run it as the owner of the tables, after each `db upgrade`.
    """
    try:
        tables = permissions.grant(role)
    except permissions.NoSuchRole:
        raise click.ClickException(f"Role {role} does not exist. Create it first: create role {role} nologin") from None
    click.echo(f"Granted {role} access to {tables} tables.")


@instance.command("take-over")
def take_over() -> None:
    """Assign Redis and the broker to the platform of this database, after it has replaced another database.

    Stop the processes of the other platform first.
    """
    taken = platform_instance.take_over()
    click.echo(
        f"{' and '.join(taken)}: assigned to {platform_instance.name()}." if taken else "Run `db upgrade` first."
    )


@instance.command()
def renew() -> None:
    """Give this database a new platform id, if it is a copy of one still in use. Run it as the owner of the tables."""
    click.echo(f"This database is now {platform_instance.renew()}.")


@click.command()
@with_appcontext
def doctor() -> None:
    """Check the deployment. Exits with 1 if a check fails."""
    results = list(practice.run_checks(current_app.config["SETTINGS"]))
    for result in results:
        click.echo(f"{'ok   ' if result.passed else 'WRONG'}  {result.name}: {result.detail}")
    if not all(result.passed for result in results):
        sys.exit(1)
