"""Endpoints of webhooks, and what was sent to them."""

from __future__ import annotations

from pathlib import Path

import click

from joyfull.cli.common import MOMENT, App, Option, changes, command
from joyfull.cli.exits import Exit
from joyfull.cli.secret_output import OUTPUT_FILE, show_once
from joyfull.cli.terminal import Column, Row, when


def _last(row: Row) -> object:
    tried = row["attempts"][-1] if row["attempts"] else {}
    return tried.get("http_status") or tried.get("error")


ENDPOINTS = [
    Column("id", "id"), Column("url", "url", folds=True), Column("state", "status"),
    Column("events", lambda row: ", ".join(row["events"]), folds=True),
    Column("because", "disabled_reason", folds=True),
]  # fmt: skip
DELIVERIES = [
    Column("id", "id"), Column("state", "status"), Column("event", "event_type"),
    Column("tries", lambda row: len(row["attempts"]), right=True),
    Column("last", _last, folds=True),
    Column("when", when("created_at")), Column("next", when("next_attempt_at")),
]  # fmt: skip


@click.group(name="webhooks")
def webhooks() -> None:
    """Webhook endpoints and their deliveries."""


@webhooks.command(name="list")
@command
def endpoints(app: App, /) -> int:
    """List the endpoints."""
    with app.client() as client:
        app.terminal.rows((each.raw for each in client.webhooks.list()), ENDPOINTS)
    return Exit.DONE


@webhooks.command()
@click.argument("url")
@click.option("--events", default="completed", metavar="TYPES", help="Event types, or completed for all final states.")
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
@click.option("--url")
@click.option("--events", metavar="TYPES", help="Event types, or completed for all final states.")
@click.option("--description")
@click.option("--enable/--disable", "enabled", default=None, help="Enable or disable it.")
@command
def update(app: App, /, *, id: str, events: str | None, enabled: bool | None, **fields: Option) -> int:
    """Change an endpoint. What is not named stays."""
    changed: Option = {name: value for name, value in fields.items() if value is not None}
    if events is not None:
        changed["events"] = events.split(",")
    if enabled is not None:
        changed["status"] = "enabled" if enabled else "disabled"
    with app.client() as client:
        app.terminal.one(client.webhooks.update(id, **changed).raw, ENDPOINTS)
    return Exit.DONE


@webhooks.command(name="rotate-secret")
@click.argument("id")
@OUTPUT_FILE
@command
def rotate_secret(app: App, /, *, id: str, output_file: Path | None) -> int:
    """Print a new secret of an endpoint. Both sign for 24 hours."""
    with app.client() as client:
        show_once(app, client.webhooks.rotate_secret(id).raw, "secret", output_file)
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
@click.option("--tail", is_flag=True, help="Keep printing new ones.")
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
    """Send again all that failed since a time."""
    with app.client() as client:
        app.terminal.note(f"{client.webhooks.replay(id, since=since).replayed:,} again")
    return Exit.DONE


@webhooks.command()
@OUTPUT_FILE
@click.option("--rotate", is_flag=True, help="Create a new one; both sign for 24 hours.")
@command
def secret(app: App, /, *, output_file: Path | None, rotate: bool) -> int:
    """Print the account's default secret."""
    with app.client() as client:
        found = client.webhooks.rotate_default_secret() if rotate else client.webhooks.default_secret()
    show_once(app, found.raw, "secret", output_file)
    return Exit.DONE
