"""Who is asking, and where that is kept: login, logout, whoami, config."""

from __future__ import annotations

import socket

import click

from joyfull import configuration
from joyfull.cli.common import App, Option, command
from joyfull.cli.exits import Exit
from joyfull.cli.files import store_key, store_settings
from joyfull.cli.terminal import Column, when

SCOPES = ("tools:read", "invocations:read", "invocations:write", "usage:read", "webhooks:manage", "subscriptions:read")
PROFILE = [
    Column("e-mail", "email"), Column("name", "name"), Column("role", "role"), Column("credential", "credential.kind"),
    Column("scopes", lambda row: ", ".join(row["credential"]["scopes"])),
    Column("left", "credential.allowance.available"), Column("expires", when("credential.expires_at")),
]  # fmt: skip


def _profile_name(app: App) -> str:
    return app.profile or "default"


@click.command()
@click.option("--scope", "scopes", multiple=True, help="What the key may; repeatable.")
@command
def login(app: App, /, *, scopes: tuple[str, ...]) -> int:
    """Make an API key with the account's password, and keep it for this profile."""
    path = configuration.directory() / "credentials.json"
    app.terminal.note(f"An API key will be made and kept in {path} (readable by you only).")
    chosen: Option = scopes or SCOPES
    with app.client(app.session()) as client:
        made = client.keys.create(name=f"joyfull on {socket.gethostname()}", scopes=chosen)
        client.logout()
    store_key(_profile_name(app), {"api_key": made.key, "key_id": made.id})
    if app.base_url:
        store_settings(_profile_name(app), {"base_url": app.base_url})
    app.terminal.note(f"logged in: {made.prefix}…{made.last4}, {', '.join(made.scopes)}")
    return Exit.DONE


@click.command()
@command
def logout(app: App, /) -> int:
    """Forget this profile's key. (`joyfull keys revoke` makes it useless too.)"""
    kept = configuration.entries(configuration.directory() / "credentials.json").get(_profile_name(app))
    store_key(_profile_name(app), None)
    if kept:
        app.terminal.note(f"forgotten; to revoke it: joyfull keys revoke {kept.get('key_id', 'ID')}")
    return Exit.DONE


@click.command()
@command
def whoami(app: App, /) -> int:
    """Show the account, and what this key may."""
    with app.client() as client:
        app.terminal.one(client.account.me().raw, PROFILE)
        app.terminal.note(f"at {client.base_url}")
    return Exit.DONE


@click.group()
def config() -> None:
    """Settings of profiles: base_url, credential_command."""


@config.command(name="list")
@command
def list_settings(app: App, /) -> int:
    """Show all profiles. Keys are never shown."""
    found = configuration.sections(configuration.directory() / "config.toml")
    rows = [{"id": name, **values} for name, values in found.items()]
    app.terminal.rows(rows, [Column("profile", "id"), Column("base_url", "base_url")])
    return Exit.DONE


@config.command(name="set")
@click.argument("name", type=click.Choice(["base_url", "credential_command"]))
@click.argument("value", required=False)
@command
def set_(app: App, /, *, name: str, value: str | None) -> int:
    """Set one of this profile; without a value, remove it."""
    app.terminal.note(f"written to {store_settings(_profile_name(app), {name: value})}")
    return Exit.DONE
