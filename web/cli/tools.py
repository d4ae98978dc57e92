"""`flask --app wsgi tools load FILE`: create and update the tools of the catalogue from a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import click
from flask.cli import AppGroup

from common import boot, webhooks
from common import tools as catalogue
from common.errors import FieldError, Invalid, PlatformError
from common.identity import audit
from web.http import body, validation
from web.http.tool_drafts import ToolInSchema

tools = AppGroup("tools", help="Manage the tool catalogue.")


@tools.command()
@click.argument("file", type=click.File("rb"))
def load(file: IO[bytes]) -> None:
    """Create or update the tools in FILE (JSON: a list of `POST /admin/tools` bodies; `-` is stdin).

    Validates like the API and reports all errors; if there is one, nothing is changed.
    """
    try:
        created, changed = catalogue.editing.load(audit.OPERATOR, _checked(body.parse(file.read())))
    except PlatformError as error:
        details = "".join(f"\n  {fault.pointer}: {fault.detail}" for fault in error.errors)
        raise click.ClickException(f"{error.detail}{details}") from None
    click.echo(f"{created} tools created, {changed} changed.")


def _checked(entries: object) -> list[dict[str, object]]:
    """The entries as the API loads them. Raises `Invalid` with a pointer into the file for every error."""
    if not isinstance(entries, list):
        raise Invalid("The file must contain a JSON list of tools. Nothing was changed.")
    faults = [fault for index, entry in enumerate(entries) for fault in _faults(index, entry)]
    if faults:
        raise Invalid("The list of tools is not valid. Nothing was changed.", errors=faults)
    return [validation.loaded(ToolInSchema(), entry) for entry in entries]


def _faults(index: int, entry: object) -> Iterator[FieldError]:
    try:
        draft = catalogue.editing.Draft.of(validation.loaded(ToolInSchema(), entry))
        webhooks.check_url(boot.outbound(), draft.endpoint_url, "/endpoint_url", operator=True)
    except Invalid as refusal:
        for fault in refusal.errors or (FieldError("", refusal.detail),):
            yield FieldError(f"/{index}{fault.pointer}", fault.detail)
