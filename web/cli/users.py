"""`flask --app wsgi users create|promote|demote|disable|enable|reset-password` and `admin ensure`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import click
from flask import current_app
from flask.cli import AppGroup

from common.errors import EmailTaken, PlatformError, WeakPassword
from common.identity import accounts, audit, email_addresses, passwords
from common.settings import Settings

P = ParamSpec("P")
users = AppGroup("users", help="Manage accounts.")
admin = AppGroup("admin", help="Manage the first admin account.")


def _explained(command: Callable[P, None]) -> Callable[P, None]:
    @wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except PlatformError as error:
            raise click.ClickException(error.detail) from None

    return wrapper


def _password(help: str | None = None) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """A password option: prompted for or read from the environment, since arguments are visible in process lists."""
    return click.option(
        "--password", prompt=True, hide_input=True, confirmation_prompt=True, envvar="NEW_PASSWORD", help=help
    )


@users.command()
@click.argument("email")
@click.option("--name", default="", help="Display name; default: the address.")
@click.option("--admin", "is_admin", is_flag=True, help="Create an admin.")
@_password(help="Also read from NEW_PASSWORD.")
@_explained
def create(email: str, name: str, is_admin: bool, password: str) -> None:
    """Create an account for EMAIL, with the address marked as verified."""
    role = "admin" if is_admin else "user"
    user = accounts.create(email_addresses.parse(email), password, name or email, role=role)
    click.echo(f"Created {user.email} ({role}): {user.id}")


@users.command()
@click.argument("email")
@_explained
def promote(email: str) -> None:
    """Make EMAIL an admin."""
    _administer(email, role="admin")


@users.command()
@click.argument("email")
@_explained
def demote(email: str) -> None:
    """Make EMAIL an ordinary user, effective with the next request."""
    _administer(email, role="user")


@users.command()
@click.argument("email")
@_explained
def disable(email: str) -> None:
    """End EMAIL's sessions and refuse its API keys, effective with the next request."""
    _administer(email, is_active=False)


@users.command()
@click.argument("email")
@_explained
def enable(email: str) -> None:
    """Enable EMAIL's account again."""
    _administer(email, is_active=True)


@users.command("reset-password")
@click.argument("email")
@_password(help="Also read from NEW_PASSWORD.")
@_explained
def reset_password(email: str, password: str) -> None:
    """Set EMAIL's password and end its sessions."""
    user = accounts.by_email(email)
    accounts.set_password(user.id, password, actor=audit.OPERATOR)
    click.echo(f"The password of {user.email} was changed. All sessions have ended.")


def _administer(email: str, *, role: str | None = None, is_active: bool | None = None) -> None:
    user = accounts.administer(accounts.by_email(email).id, actor=audit.OPERATOR, role=role, is_active=is_active)
    click.echo(f"{user.email} is {user.role}, {'active' if user.is_active else 'disabled'}.")


# -- the first admin -------------------------------------------------------------------------------------------


@admin.command()
@_explained
def ensure() -> None:
    """Create the first admin from ADMIN_EMAIL and ADMIN_PASSWORD, unless there is one. Safe to run at every start.

    In development, missing values are generated and kept in DATA_DIR/admin-password. In production they are required.
    """
    settings: Settings = current_app.config["SETTINGS"]
    email, password = settings.admin_email, settings.admin_password
    if settings.production:
        _check(email, password)
    elif not password:
        email, password = _generated(settings.data_dir / "admin-password", email or "admin@localhost")
    if email and password:
        _ensure(email, password)


def _ensure(email: str, password: str) -> None:
    try:
        user = accounts.ensure_admin(email, password)
    except EmailTaken:
        hint = f"If it is yours, run `flask --app wsgi users promote {email}`."
        raise click.ClickException(f"No admin was created: {email} is an ordinary account. {hint}") from None
    click.echo(f"Created the first admin: {user.email}." if user else "An admin already exists.")


def _check(email: str | None, password: str | None) -> None:
    if not email or not password:
        click.echo("ADMIN_EMAIL and ADMIN_PASSWORD are not both set. No admin was created.")
        return
    try:
        passwords.check(password, email_addresses.parse(email).key)
    except WeakPassword as error:
        raise click.ClickException(f"ADMIN_PASSWORD: {error.detail}") from None


def _generated(file: Path, email: str) -> tuple[str, str]:
    """Address and password of this data directory's admin, generated once in a file that only its owner can read."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(f"{email} {secrets.token_urlsafe(12)}\n", encoding="utf-8")
    kept_email, _, password = file.read_text(encoding="utf-8").strip().partition(" ")
    click.echo(f"The admin of this installation is {kept_email} with the password {password} (stored in {file}).")
    return kept_email, password
