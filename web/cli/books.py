"""`flask --app wsgi books verify | repair`: check the ledger, and rebuild data derived from it."""

from __future__ import annotations

import sys

import click
from flask.cli import AppGroup

from common.operations import ledger

books = AppGroup("books", help="Verify the ledger, or rebuild data derived from it.")


@books.command()
def verify() -> None:
    """Recompute all amounts from the rows. Prints every difference, and exits with 1 if there is one."""
    report = ledger.verify()
    for difference in report.differences:
        click.echo(f"DIFFERS  {difference.invariant}\n         {difference.where}: {difference.found}")
    checked = f"invocations: {report.invocations}, periods: {report.periods}, budget gates in Redis: {report.gates}"
    if report.differences:
        click.echo(f"The ledger is inconsistent: {len(report.differences)} differences ({checked}).")
        sys.exit(1)
    click.echo(f"The ledger is consistent, no differences ({checked}).")


@books.command()
def repair() -> None:
    """Rebuild derived data: rollups, the order of restored events, the budget gates in Redis."""
    rebuilt = ledger.repair(click.echo)
    click.echo(f"{rebuilt} rebuilt." if rebuilt else "Nothing to rebuild.")
