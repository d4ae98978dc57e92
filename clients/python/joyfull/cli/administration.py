"""For admins; and `api`, `completion`, `doctor`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from operator import itemgetter

import click
from click.shell_completion import get_completion_class
from rich.text import Text

from joyfull import models
from joyfull.cli.common import App, Option, changes, command, from_file
from joyfull.cli.exits import Exit
from joyfull.cli.terminal import Column, Row, when
from joyfull.cli.waiting import COLUMNS
from joyfull.errors import JoyfullError

USERS = [
    Column("id", "id"), Column("e-mail", "email", folds=True), Column("role", "role"), Column("plan", "plan"),
    Column("active", "is_active"), Column("since", when("created_at")),
]  # fmt: skip
TOOLS = [
    Column("id", "id"), Column("slug", "slug"), Column("version", "version", right=True),
    Column("active", "is_active"), Column("available", "is_available"), Column("endpoint", "endpoint_url", folds=True),
]  # fmt: skip
AUDIT = [
    Column("when", when("created_at")), Column("actor", "actor_kind"), Column("action", "action"),
    Column("target", lambda row: f"{row['target_type']} {row['target_id']}", folds=True), Column("from", "ip"),
]  # fmt: skip
STATS = [
    Column("calls", "totals.invocations"), Column("succeeded", "totals.succeeded"), Column("failed", "totals.failed"),
    Column("tokens", "totals.tokens_used"), Column("accounts", "active_users"),
    Column("error rate", lambda row: f"{row['error_rate']:.1%}"),
    Column("p95 ms", "latency_ms.p95"), Column("queue", "queue_depth"), Column("oldest s", "oldest_queued_seconds"),
]  # fmt: skip


@click.group()
def admin() -> None:
    """Accounts, tools, invocations, audit: admins."""


@admin.command()
@click.option("-s", "--search", help="In addresses and names.")
@click.option("--plan")
@click.option("--limit", type=int, default=20)
@command
def users(app: App, /, *, search: str | None, plan: str | None, limit: int) -> int:
    """List accounts."""
    chosen: Option = {name: value for name, value in {"q": search, "plan": plan}.items() if value}
    with app.client() as client:
        app.terminal.rows((each.raw for each in client.admin.users.list(**chosen).first(limit)), USERS)
    return Exit.DONE


@admin.command()
@click.argument("user_id")
@click.argument("tokens", type=int)
@click.option("--reason", required=True)
@command
def grant(app: App, /, *, user_id: str, tokens: int, reason: str) -> int:
    """Grant an account tokens, or take some back."""
    with app.client() as client:
        app.terminal.line(client.admin.users.grant(user_id, tokens=tokens, reason=reason).id)
    return Exit.DONE


@admin.command()
@command
def tools(app: App, /) -> int:
    """List tools, inactive ones too."""
    with app.client() as client:
        app.terminal.rows((each.raw for each in client.admin.tools.list()), TOOLS)
    return Exit.DONE


@admin.command()
@command
def stats(app: App, /) -> int:
    """Totals of the platform."""
    with app.client() as client:
        app.terminal.one(client.admin.stats().raw, STATS)
    return Exit.DONE


@admin.command()
@click.option("--action")
@click.option("--limit", type=int, default=20)
@command
def audit(app: App, /, *, action: str | None, limit: int) -> int:
    """Who changed what."""
    chosen: Option = {"action": action} if action else {}
    with app.client() as client:
        app.terminal.rows((each.raw for each in client.admin.audit.list(**chosen).first(limit)), AUDIT)
    return Exit.DONE


@admin.command()
@click.option("--follow/--once", default=True, help="Keep printing new ones.")
@command
def tail(app: App, /, *, follow: bool) -> int:
    """Every account's invocations, as they change."""
    with app.client() as client:

        def newest() -> list[Row]:
            return [each.raw for each in client.admin.invocations.list(payloads=False, limit=50).first(50)]

        for new in changes(newest, itemgetter("id", "status", "attempts"), every=1):
            if new:
                app.terminal.rows(reversed(new), [*COLUMNS, Column("account", "user_id")])
            if not follow:
                break
    return Exit.DONE


@click.command()
@click.argument("method")
@click.argument("path")
@click.option("--data", metavar="@FILE", help="A JSON file; - is stdin.")
@click.option("-H", "--header", multiple=True, metavar="NAME:VALUE")
@click.option("-q", "--query", multiple=True, metavar="NAME=VALUE")
@command
def api(
    app: App, /, *, method: str, path: str, data: str | None, header: tuple[str, ...], query: tuple[str, ...]
) -> int:
    """Send any request and print the answer. It goes with this profile's credentials."""
    body = from_file(data.removeprefix("@")) if data else None
    headers = {name: value.strip() for name, _, value in (each.partition(":") for each in header)}
    asked: dict[str, list[str]] = {}
    for each in query:
        name, _, value = each.partition("=")
        asked.setdefault(name, []).append(value)
    where = path if path.startswith("/api/") or not path.startswith("/") else f"/api/v1{path}"
    with app.client() as client:
        response = client.raw(method, where, query=asked, json=body, headers=headers)
    sys.stdout.write(response.body.decode(errors="replace"))
    return Exit.DONE


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the completion for a shell.

    eval "$(joyfull completion bash)" in ~/.bashrc; zsh and fish take the same line.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(kind(context.find_root().command, {}, "joyfull", "_JOYFULL_COMPLETE").source())
    return Exit.DONE


@click.command()
@command
def doctor(app: App, /) -> int:
    """Check what a job needs. Address, platform, clocks, credentials, plan."""
    worst = Exit.DONE
    with app.client() as client:
        steps: list[tuple[str, Option]] = [
            ("the platform answers", lambda: f"{client.base_url}, version {client.platform.health().version}"),
            ("it is ready", lambda: client.platform.ready().status),
            ("the clocks agree", lambda: _clock(client.with_raw.platform.health()[1].headers)),
            ("the credentials are valid", lambda: f"{client.account.me().email}"),
            ("the account has a plan", lambda: _left(client.subscription.current().tokens)),
        ]
        for what, step in steps:
            try:
                app.terminal.out.print(Text.assemble(("✓ ", "green"), f"{what}: {step()}"))
            except JoyfullError as error:
                worst = Exit.FAILED
                app.terminal.out.print(Text.assemble(("✗ ", "red"), f"{what}: {error}"))
    return worst


def _left(tokens: models.Balance) -> str:
    return "no limit" if tokens.available is None else f"{tokens.available:,} tokens available"


def _clock(headers: dict[str, str]) -> str:
    there = parsedate_to_datetime(headers["date"]) if "date" in headers else None
    return f"{abs((datetime.now(UTC) - there).total_seconds()):.0f} s apart" if there else "the platform does not say"
