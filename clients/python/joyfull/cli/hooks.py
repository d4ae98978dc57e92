"""Endpoints of webhooks, and API keys."""

from __future__ import annotations

from pathlib import Path

import click

from joyfull.cli.common import MOMENT, App, Option, changes, command, texts
from joyfull.cli.exits import Exit
from joyfull.cli.terminal import Column, Row, when
from joyfull.private_files import write_private


def _last(row: Row) -> object:
    tried = row["attempts"][-1] if row["attempts"] else {}
    return tried.get("http_status") or tried.get("error")


ENDPOINTS = [
    Column("id", "id"), Column("url", "url", folds=True),
    Column("events", lambda row: ", ".join(row["events"]), folds=True),
    Column("state", "status"), Column("because", "disabled_reason"),
]  # fmt: skip
DELIVERIES = [
    Column("id", "id"), Column("event", "event_type"), Column("state", "status"),
    Column("tries", lambda row: len(row["attempts"]), right=True),
    Column("last", _last),
    Column("when", when("created_at")), Column("next", when("next_attempt_at")),
]  # fmt: skip
KEYS = [
    Column("id", "id"), Column("name", "name"), Column("key", lambda row: f"{row['prefix']}…{row['last4']}"),
    Column("scopes", lambda row: ", ".join(row["scopes"]), folds=True),
    Column("left", "allowance.available", right=True),
    Column("expires", when("expires_at")), Column("used", when("last_used_at")),
]  # fmt: skip
OUTPUT_FILE = click.option(
    "--output-file", type=click.Path(path_type=Path), help="Write it here (0600), not to stdout."
)


def show_once(app: App, raw: Row, member: str, path: Path | None) -> None:
    """A secret that will not be shown again."""
    if app.terminal.format in {"json", "ndjson"} and path is None:
        app.terminal.one(raw, [])
    elif path is None:
        app.terminal.line(raw[member])
        app.terminal.note("It is shown only this once.")
    else:
        write_private(path, f"{raw[member]}\n")
        app.terminal.note(f"written to {path}")


@click.group(name="webhooks")
def webhooks() -> None:
    """Endpoints that are told of events, and what was sent to them."""


@webhooks.command(name="list")
@command
def endpoints(app: App, /) -> int:
    """List the endpoints."""
    with app.client() as client:
        app.terminal.rows((each.raw for each in client.webhooks.list()), ENDPOINTS)
    return Exit.DONE


@webhooks.command()
@click.argument("url")
@click.option("--events", default="completed", metavar="TYPES", help="Types, or completed for the four ends.")
@click.option("--description")
@OUTPUT_FILE
@command
def create(app: App, /, *, url: str, events: str, description: str | None, output_file: Path | None) -> int:
    """Add an endpoint and print its secret."""
    types: Option = events.split(",")
    with app.client() as client:
        made = client.webhooks.create(url=url, events=types, description=description)
    app.terminal.note(f"{made.id} {made.url}")
    show_once(app, made.raw, "secret", output_file)
    return Exit.DONE


@webhooks.command()
@click.argument("id")
@command
def delete(app: App, /, *, id: str) -> int:
    """Remove an endpoint."""
    app.confirm(f"Remove {id}?")
    with app.client() as client:
        client.webhooks.delete(id)
    return Exit.DONE


@webhooks.command()
@click.argument("id")
@command
def test(app: App, /, *, id: str) -> int:
    """Send an endpoint a test now."""
    with app.client() as client:
        found = client.webhooks.test(id)
    app.terminal.one(
        found.raw, [Column("status", "http_status"), Column("ms", "duration_ms"), Column("error", "error")]
    )
    return Exit.DONE if found.http_status and found.http_status < 300 else Exit.FAILED


@webhooks.command()
@click.argument("id")
@click.option("--status", type=click.Choice(["pending", "delivered", "failed"]))
@click.option("--tail", is_flag=True, help="Go on, with what comes.")
@command
def deliveries(app: App, /, *, id: str, status: Option, tail: bool) -> int:
    """Show what was sent to an endpoint."""
    chosen: Option = {"status": status} if status else {}
    with app.client() as client:

        def newest() -> list[Row]:
            return [each.raw for each in client.webhooks.deliveries(id, limit=20, **chosen).first(20)]

        for new in changes(newest, lambda each: (each["id"], len(each["attempts"])), every=2):
            if new or not tail:
                app.terminal.rows(reversed(new) if tail else new, DELIVERIES)
            if not tail:
                break
    return Exit.DONE


@webhooks.command()
@click.argument("id")
@click.argument("delivery")
@command
def resend(app: App, /, *, id: str, delivery: str) -> int:
    """Send one delivery again."""
    with app.client() as client:
        app.terminal.one(client.webhooks.resend(id, delivery).raw, DELIVERIES)
    return Exit.DONE


@webhooks.command()
@click.argument("id")
@click.option("--since", type=MOMENT, required=True, metavar="2d")
@command
def replay(app: App, /, *, id: str, since: Option) -> int:
    """Send everything that failed since a time again."""
    with app.client() as client:
        app.terminal.note(f"{client.webhooks.replay(id, since=since).replayed:,} again")
    return Exit.DONE


@webhooks.command()
@OUTPUT_FILE
@click.option("--rotate", is_flag=True, help="Make a new one; both sign for 24 hours.")
@command
def secret(app: App, /, *, output_file: Path | None, rotate: bool) -> int:
    """Print the account's default secret."""
    with app.client() as client:
        found = client.webhooks.rotate_default_secret() if rotate else client.webhooks.default_secret()
    show_once(app, found.raw, "secret", output_file)
    return Exit.DONE


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
@click.option("--scope", "scopes", multiple=True, help="Repeatable; all but admin without it.")
@click.option("--tokens", type=int, help="What it may spend.")
@click.option("--window", type=click.Choice(["total", "day", "month"]), default="total", help="In which time.")
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
@command
def revoke(app: App, /, *, id: str) -> int:
    """Refuse a key from now on."""
    app.confirm(f"Revoke {id}?")
    with app.account() as client:
        client.keys.revoke(id)
    return Exit.DONE


@keys.command()
@click.option("--tokens", type=int, required=True, help="What it may spend.")
@click.option("--expires-in", type=int, default=3600, metavar="S")
@click.option("--end-user", help="For whom it is.")
@click.option("--tool", "tools", multiple=True, help="Only this one; repeatable.")
@click.option("--scope", "scopes", multiple=True, help="Only this one; repeatable.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Shown with it; repeatable.")
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
