"""API keys."""

from __future__ import annotations

from pathlib import Path

import click

from joyfull.cli.common import App, Option, command, texts
from joyfull.cli.exits import Exit
from joyfull.cli.secret_output import OUTPUT_FILE, show_once
from joyfull.cli.terminal import Column, when

KEYS = [
    Column("id", "id"), Column("name", "name", folds=True),
    Column("key", lambda row: f"{row['prefix']}…{row['last4']}"),
    Column("left", "allowance.available", right=True),
    Column("expires", when("expires_at")), Column("used", when("last_used_at")),
    Column("scopes", lambda row: ", ".join(row["scopes"]), folds=True),
]  # fmt: skip


@click.group()
def keys() -> None:
    """API keys. All but `delegate` ask for the password: a key never manages keys."""


@keys.command(name="list")
@command
def list_keys(app: App, /) -> int:
    """List the keys."""
    with app.account() as client:
        app.terminal.rows((each.raw for each in client.keys.list()), KEYS)
    return Exit.DONE


@keys.command(name="create")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, help="A scope; repeatable. Default: all but admin.")
@click.option("--tokens", type=int, help="Tokens that it may spend.")
@click.option(
    "--window", type=click.Choice(["total", "day", "month"]), default="total", help="Period of the allowance."
)
@OUTPUT_FILE
@command
def create_key(
    app: App, /, *, name: str, scopes: Option, tokens: int | None, window: Option, output_file: Path | None
) -> int:
    """Make a key and print it."""
    fields: Option = {"scopes": scopes} if scopes else {}
    if tokens:
        fields["allowance"] = {"tokens": tokens, "window": window}
    with app.account() as client:
        made = client.keys.create(name=name, **fields)
    show_once(app, made.raw, "key", output_file)
    return Exit.DONE


@keys.command()
@click.argument("id")
@click.option("--overlap", type=int, metavar="S", help="Seconds that the old one keeps working.")
@OUTPUT_FILE
@command
def rotate(app: App, /, *, id: str, overlap: int | None, output_file: Path | None) -> int:
    """Print a new key under the same id. The old one works for a while."""
    chosen: Option = {} if overlap is None else {"overlap_seconds": overlap}
    with app.account() as client:
        show_once(app, client.keys.rotate(id, **chosen).raw, "key", output_file)
    return Exit.DONE


@keys.command()
@click.argument("id")
@command
def revoke(app: App, /, *, id: str) -> int:
    """Refuse a key from now on."""
    app.confirm(f"Revoke {id}?")
    with app.account() as client:
        client.keys.revoke(id)
    return Exit.DONE


@keys.command()
@click.option("--tokens", type=int, required=True, help="Tokens that it may spend.")
@click.option("--expires-in", type=int, default=3600, metavar="S")
@click.option("--end-user", help="The end user that it is for.")
@click.option("--tool", "tools", multiple=True, help="A tool that it may call; repeatable.")
@click.option("--scope", "scopes", multiple=True, help="A scope; repeatable.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Metadata of the key; repeatable.")
@OUTPUT_FILE
@command
def delegate(app: App, /, *, output_file: Path | None, **fields: Option) -> int:
    """Make a short-lived key with an allowance. For an agent, or a customer of yours; within what this key may."""
    given = {**fields, "metadata": texts(fields["metadata"])}
    with app.client() as client:
        made = client.keys.delegate(**{name: value for name, value in given.items() if value})
    app.terminal.note(f"{made.id} may spend {made.allowance.tokens:,} until {made.expires_at:%d %b %H:%M:%S} UTC")
    show_once(app, made.raw, "key", output_file)
    return Exit.DONE
