"""Who is asking, and where that is kept: login, logout, whoami, config."""

from __future__ import annotations

import socket

import click

from joyfull import configuration
from joyfull.cli.common import App, Option, command
from joyfull.cli.exits import Exit
from joyfull.cli.files import session_file, store_key, store_settings
from joyfull.cli.terminal import Column, when
from joyfull.errors import JoyfullError

SCOPES = ("tools:read", "invocations:read", "invocations:write", "usage:read", "webhooks:manage", "subscriptions:read")
PROFILE = [
    Column("e-mail", "email"), Column("name", "name"), Column("role", "role"), Column("credential", "credential.kind"),
    Column("scopes", lambda row: ", ".join(row["credential"]["scopes"])),
    Column("left", "credential.allowance.available"), Column("expires", when("credential.expires_at")),
]  # fmt: skip


@click.command()
@click.option("--scope", "scopes", multiple=True, help="A scope of the key; repeatable.")
@click.option("--session", "keeps_session", is_flag=True, help="Store a session instead, with all your permissions.")
@command
def login(app: App, /, *, scopes: tuple[str, ...], keeps_session: bool) -> int:
    """Make an API key and keep it for this profile. Asks for the account's password."""
    if keeps_session:
        _keep_session(app)
    else:
        _keep_key(app, scopes or SCOPES)
    return Exit.DONE


def _keep_key(app: App, scopes: Option) -> None:
    path = configuration.directory() / "credentials.json"
    app.terminal.note(f"An API key will be created and stored in {path} (readable only by you).")
    session = app.session()
    _end_kept_session(app)
    with app.client(session) as client:
        made = client.keys.create(name=f"joyfull on {socket.gethostname()}", scopes=scopes)
        client.logout()
    store_settings(app.profile_name, {"base_url": client.base_url})
    store_key(app.profile_name, {"api_key": made.key, "key_id": made.id})
    app.terminal.note(f"logged in: {made.prefix}…{made.last4}, {', '.join(made.scopes)}")


def _keep_session(app: App) -> None:
    store = session_file(app.profile_name)
    app.terminal.note(f"A session will be stored in {store.path} (readable only by you). The password will not.")
    session = app.session(store)
    _end_kept_session(app)
    with app.client(session) as client:
        name = client.account.me().email
    store_settings(app.profile_name, {"base_url": client.base_url})
    store_key(app.profile_name, None)
    app.terminal.note(f"logged in as {name}: for 30 days, or until unused for 14 days")


def _end_kept_session(app: App) -> bool:
    """Whether there was one. Its file is gone, also where the platform cannot be told."""
    kept = app.kept_session()
    if kept is None:
        return False
    try:
        with app.client(kept) as client:
            client.logout()
    except JoyfullError as error:
        kept.store.write(None)
        app.terminal.note(f"removed from this machine, but not ended: {error}")
    return True


@click.command()
@command
def logout(app: App, /) -> int:
    """End this profile's session, or forget its key. (`joyfull keys revoke` makes a key useless too.)"""
    if _end_kept_session(app):
        app.terminal.note("logged out")
        return Exit.DONE
    kept = configuration.entries(configuration.directory() / "credentials.json").get(app.profile_name)
    store_key(app.profile_name, None)
    if kept:
        app.terminal.note(f"removed from this machine; to revoke it: joyfull keys revoke {kept.get('key_id', 'ID')}")
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
    app.terminal.note(f"written to {store_settings(app.profile_name, {name: value})}")
    return Exit.DONE
