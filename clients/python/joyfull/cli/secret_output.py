"""How a secret is printed: once, to stdout or into a file that only its owner can read."""

from __future__ import annotations

from pathlib import Path

import click

from joyfull.cli.common import App
from joyfull.cli.terminal import Row
from joyfull.private_files import write_private

OUTPUT_FILE = click.option(
    "--output-file", type=click.Path(path_type=Path), help="Write it here (0600), not to stdout."
)


def show_once(app: App, raw: Row, member: str, path: Path | None) -> None:
    """A secret that will not be shown again."""
    if app.terminal.format in {"json", "ndjson"} and path is None:
        app.terminal.one(raw, [])
    elif path is None:
        app.terminal.line(raw[member])
        app.terminal.note("It is shown only once.")
    else:
        write_private(path, f"{raw[member]}\n")
        app.terminal.note(f"written to {path}")
