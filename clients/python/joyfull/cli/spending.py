"""What was used, what is left, and whether the bill is right: usage, export, plan, books."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import click
from rich.text import Text

from joyfull.cli.charts import usage_chart
from joyfull.cli.common import MOMENT, App, Option, command
from joyfull.cli.exits import Exit
from joyfull.cli.terminal import Column, when

GROUPS = [
    Column("by", "key"),
    Column("tokens", "tokens_used", right=True), Column("calls", "invocations", right=True),
    Column("failed", "failed", right=True), Column("p95 ms", "latency_p95_ms", right=True),
]  # fmt: skip
PLANS = [
    Column("slug", "slug"), Column("name", "name"), Column("tokens a month", "monthly_tokens", right=True),
    Column("price", lambda row: f"{row['price_cents'] / 100:.2f} {row['currency']}", right=True),
    Column("submits a minute", "rate_limit_per_minute", right=True), Column("at once", "max_concurrency", right=True),
]  # fmt: skip
CURRENT = [
    Column("plan", "plan"), Column("state", "status"), Column("granted", "tokens.granted"),
    Column("charged", "tokens.charged"), Column("held", "tokens.held"), Column("available", "tokens.available"),
    Column("resets", when("tokens.resets_at")), Column("then", "pending_plan"),
]  # fmt: skip


@click.command()
@click.option("--last", type=MOMENT, metavar="7d", help="How far back. Default: the current period.")
@click.option("--from", "from_", type=MOMENT)
@click.option("--to", type=MOMENT)
@click.option("--by", type=click.Choice(["tool", "status", "api_key", "api_key_root", "end_user"]), default="tool")
@click.option("--bucket", type=click.Choice(["hour", "day", "month"]), default="day")
@command
def usage(
    app: App, /, *, last: datetime | None, from_: datetime | None, to: datetime | None, by: Option, bucket: Option
) -> int:
    """Show what was used, by day and by tool."""
    span: Option = {name: value for name, value in {"from_": last or from_, "to": to}.items() if value}
    with app.client() as client:
        found = client.usage.summary(bucket=bucket, group_by=by, **span)
        plan = client.subscription.current() if app.terminal.format == "table" else None
    if app.terminal.format in {"json", "ndjson"}:
        app.terminal.one(found.raw, [])
    elif app.terminal.format == "table" and plan is not None:
        usage_chart(app.terminal, found, plan.tokens)
    else:
        app.terminal.rows(found.raw["groups"], GROUPS)
    return Exit.DONE


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "format_", type=click.Choice(["csv", "ndjson"]), help="Default: by the file name.")
@click.option("--from", "from_", type=MOMENT)
@click.option("--to", type=MOMENT)
@click.option("--tool")
@command
def export(app: App, /, *, path: Path, format_: Literal["csv", "ndjson"] | None, **filters: Option) -> int:
    """Write every usage entry to a file. It is there only when it is whole."""
    chosen = {name: value for name, value in filters.items() if value}
    kind: Literal["csv", "ndjson"] = format_ or ("csv" if path.suffix == ".csv" else "ndjson")
    with app.client() as client:
        client.usage.export(path, format=kind, **chosen)
    app.terminal.note(f"{path}: {path.stat().st_size:,} bytes")
    return Exit.DONE


@click.group(invoke_without_command=True)
@click.pass_context
def plan(context: click.Context) -> int:
    """Show the plan and what is left; change it."""
    if context.invoked_subcommand is None:
        return int(context.invoke(show))
    return Exit.DONE


@plan.command()
@command
def show(app: App, /) -> int:
    """The plan and what is left of it."""
    with app.client() as client:
        app.terminal.one(client.subscription.current().raw, CURRENT)
    return Exit.DONE


@plan.command(name="list")
@command
def plans(app: App, /) -> int:
    """The plans that there are."""
    with app.client() as client:
        app.terminal.rows((each.raw for each in client.subscription.plans()), PLANS)
    return Exit.DONE


@plan.command()
@click.argument("slug")
@command
def subscribe(app: App, /, *, slug: str) -> int:
    """Subscribe, or change the plan. Asks for the password: a key cannot do this."""
    app.confirm(f"Subscribe to {slug}?")
    with app.account() as client:
        app.terminal.one(client.subscription.subscribe(plan=slug).raw, CURRENT)
    return Exit.DONE


@plan.command(name="cancel")
@click.option("--now", is_flag=True, help="At once instead of at the end of the period.")
@command
def cancel_plan(app: App, /, *, now: bool) -> int:
    """End the subscription, with its period."""
    app.confirm("End the subscription at once?" if now else "End the subscription with this period?")
    with app.account() as client:
        app.terminal.one(client.subscription.cancel(at_period_end=not now).raw, CURRENT)
    return Exit.DONE


@click.command()
@click.option("--month", metavar="2026-11", help="Default: the current period.")
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="DIR", help="Save the rows, and compare with those saved before."
)
@click.option("--from", "kept", type=click.Path(path_type=Path), metavar="DIR", help="Check saved rows, offline.")
@command
def books(app: App, /, *, month: str | None, save: Path | None, kept: Path | None) -> int:
    """Recompute the bill from its rows. Exits with 8 if they differ."""
    with app.client() as client:
        report = client.books(*_month(month), save=save, kept=kept)
    app.terminal.note(f"{report.invocations:,} invocations, {report.from_:%d %b %Y} to {report.to:%d %b %Y}")
    for check in report.checks:
        sign = ("✓ ", "green") if check.holds else ("✗ ", "red")
        app.terminal.out.print(Text.assemble(sign, check.statement))
        for difference in check.differences[:5]:
            app.terminal.out.print(f"    {difference}")
    return Exit.DONE if report.holds else Exit.BOOKS_DIFFER


def _month(month: str | None) -> tuple[datetime, datetime] | tuple[()]:
    if month is None:
        return ()
    try:
        start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    except ValueError as error:
        raise click.UsageError(f"{month!r} is not a month: 2026-11") from error
    return start, (start + timedelta(days=31)).replace(day=1)
