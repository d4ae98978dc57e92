"""`flask --app wsgi secrets rotate`, `roles grant`, `instance …` and `doctor`: keeping an installation well."""

from __future__ import annotations

import sys

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from common.operations import database_roles as permissions
from common.operations import doctor as practice
from common.operations import instance as platform_instance
from common.operations import key_rotation

secrets = AppGroup("secrets", help="Manage what is stored encrypted.")
roles = AppGroup("roles", help="Manage who may do what in the database.")
instance = AppGroup("instance", help="Manage which platform the database, Redis and the broker belong to.")


@secrets.command()
def rotate() -> None:
    """Put every stored secret under the newest of SECRETS_KEYS; when this exits with 0, the older ones can go."""
    reencrypted = unreadable = 0
    for each in key_rotation.rotate():
        if each.readable:
            reencrypted += 1
        else:
            unreadable += 1
            click.echo(f"UNREADABLE  {each.place} of {each.key}: no key in SECRETS_KEYS opens it")
    click.echo(f"{reencrypted} secrets encrypted under the newest key, {unreadable} unreadable.")
    if unreadable:
        sys.exit(1)


@roles.command()
@click.argument("role")
def grant(role: str) -> None:
    """Let ROLE serve: read and write rows, but neither make nor drop tables, nor change what is in the ledger.

    Run it as the owner of the tables, after each `db upgrade`.
    """
    try:
        tables = permissions.grant(role)
    except permissions.NoSuchRole:
        raise click.ClickException(f"There is no role {role}: create role {role} nologin") from None
    click.echo(f"{role} may serve: {tables} tables.")


@instance.command("take-over")
def take_over() -> None:
    """Make Redis and the broker this database's, whoever had them: it has taken the place of another one.

    Stop the other platform first.
    """
    taken = platform_instance.take_over()
    click.echo(f"{' and '.join(taken)}: now of {platform_instance.name()}." if taken else "Run `db upgrade` first.")


@instance.command()
def renew() -> None:
    """Give this database a new id: it is a copy of one that goes on elsewhere. Run it as the owner of the tables."""
    click.echo(f"This database is now {platform_instance.renew()}.")


@click.command()
@with_appcontext
def doctor() -> None:
    """Look at what matters in a deployment. Exits with 1 when something is wrong."""
    findings = list(practice.examine(current_app.config["SETTINGS"]))
    for finding in findings:
        click.echo(f"{'ok   ' if finding.well else 'WRONG'}  {finding.name}: {finding.detail}")
    if not all(finding.well for finding in findings):
        sys.exit(1)
