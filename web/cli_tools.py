"""`flask --app wsgi tools load FILE`: bring the catalogue up to a list of tools."""

from __future__ import annotations

import json
from typing import IO

import click
from flask.cli import AppGroup

from common import audit
from common import tools as catalogue
from common.errors import PlatformError

tools = AppGroup("tools", help="Manage the catalogue of tools.")


@tools.command()
@click.argument("file", type=click.File("r", encoding="utf-8"))
def load(file: IO[str]) -> None:
    """Create or change the tools that FILE names (JSON: a list of `POST /admin/tools` bodies; `-` is stdin)."""
    try:
        created, changed = catalogue.editing.load(audit.OPERATOR, json.load(file))
    except PlatformError as error:
        details = "".join(f"\n  {fault.pointer}: {fault.detail}" for fault in error.errors)
        raise click.ClickException(f"{error.detail}{details}") from None
    click.echo(f"{created} tools created, {changed} changed.")
