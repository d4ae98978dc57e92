"""`flask --app wsgi books verify | repair`: are the books right, and make right what is only derived."""

from __future__ import annotations

import sys

import click
from flask.cli import AppGroup

from common.operations import ledger

books = AppGroup("books", help="Prove that the books are right, or rebuild what is derived from them.")


@books.command()
def verify() -> None:
    """Recompute everything from the rows. Prints what differs and then exits with 1."""
    report = ledger.verify()
    for difference in report.differences:
        click.echo(f"DIFFERS  {difference.law}\n         {difference.where}: {difference.found}")
    looked = f"invocations: {report.invocations}, periods: {report.periods}, budget gates in Redis: {report.gates}"
    if report.differences:
        click.echo(f"The books do NOT add up: {len(report.differences)} differences ({looked}).")
        sys.exit(1)
    click.echo(f"The books are right, no difference ({looked}).")


@books.command()
def repair() -> None:
    """Rebuild what is derived from rows: rollups, the order of restored events, the budget gates in Redis."""
    rebuilt = ledger.repair(click.echo)
    click.echo(f"{rebuilt} rebuilt." if rebuilt else "Nothing to rebuild.")
