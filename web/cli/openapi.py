"""`flask --app wsgi openapi`: print or write the OpenAPI document, even if the settings do not serve it."""

from __future__ import annotations

import json
from typing import IO

import click
from flask import current_app
from flask.cli import AppGroup

from web.api.openapi import document


@click.group(cls=AppGroup, invoke_without_command=True)
@click.pass_context
def openapi(context: click.Context) -> None:
    """Print the OpenAPI 3.1 document, or write it to a file."""
    if context.invoked_subcommand is None:
        context.invoke(show)


@openapi.command("print")
def show() -> None:
    """Print the document."""
    click.echo(text())


@openapi.command()
@click.argument("file", type=click.File("w", encoding="utf-8", lazy=False))
def write(file: IO[str]) -> None:
    """Write the document to FILE."""
    file.write(f"{text()}\n")
    click.echo(f"{file.name} written.", err=True)


def text() -> str:
    """The document of the current app, indented."""
    return json.dumps(document.of(current_app), indent=2, ensure_ascii=False)
