"""`flask --app wsgi receipts rotate`: the key that signs receipts and quotes."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from common.identity import signatures
from common.identity.audit import OPERATOR

receipts = AppGroup("receipts", help="Manage the key that signs receipts and quotes.")


@receipts.command()
def rotate() -> None:
    """Sign with a new key from now on. What is signed already stays valid; the old private key is forgotten."""
    click.echo(f"Receipts and quotes are signed with {signatures.rotate(OPERATOR)}.")
