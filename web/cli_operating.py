"""`flask --app wsgi secrets rotate` and `flask --app wsgi doctor`: keeping an installation well."""

from __future__ import annotations

import sys

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from common import doctor as practice
from common import sealing

secrets = AppGroup("secrets", help="Manage what is stored sealed.")


@secrets.command()
def rotate() -> None:
    """Put every stored secret under the newest of SECRETS_KEYS; when this exits with 0, the older ones can go."""
    resealed = unreadable = 0
    for each in sealing.rotate():
        if each.readable:
            resealed += 1
        else:
            unreadable += 1
            click.echo(f"UNREADABLE  {each.place} of {each.key}: no key in SECRETS_KEYS opens it")
    click.echo(f"{resealed} secrets sealed under the newest key, {unreadable} unreadable.")
    if unreadable:
        sys.exit(1)


@click.command()
@with_appcontext
def doctor() -> None:
    """Look at what matters in a deployment. Exits with 1 when something is wrong."""
    findings = list(practice.examine(current_app.config["SETTINGS"]))
    for finding in findings:
        click.echo(f"{'ok   ' if finding.well else 'WRONG'}  {finding.name}: {finding.detail}")
    if not all(finding.well for finding in findings):
        sys.exit(1)
