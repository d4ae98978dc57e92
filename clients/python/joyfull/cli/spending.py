"""What was used, what is left, and whether the bill is right: usage, export, plan, books."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import click
from rich.text import Text

from joyfull import models
from joyfull.cli.common import MOMENT, App, Option, command
from joyfull.cli.exits import Exit
from joyfull.cli.terminal import Column, when

LEVELS = " ▁▂▃▄▅▆▇█"
BAR = 24
GROUPS = [
    Column("by", lambda row: row.get("tool") or row.get("status") or row.get("api_key_id") or row.get("key")),
    Column("tokens", "tokens_used", right=True), Column("calls", "invocations", right=True),
    Column("failed", "failed", right=True), Column("p95 ms", "latency_p95_ms", right=True),
]  # fmt: skip
PLANS = [
    Column("slug", "slug"), Column("name", "name"), Column("tokens a month", "monthly_tokens", right=True),
    Column("price", lambda row: f"{row['price_cents'] / 100:.2f} {row['currency']}"),
    Column("submits a minute", "rate_limit_per_minute", right=True), Column("at once", "max_concurrency", right=True),
]  # fmt: skip
CURRENT = [
    Column("plan", "plan"), Column("state", "status"), Column("granted", "tokens.granted"),
    Column("charged", "tokens.charged"), Column("held", "tokens.held"), Column("available", "tokens.available"),
    Column("resets", when("tokens.resets_at")), Column("then", "pending_plan"),
]  # fmt: skip


def sparkline(numbers: Sequence[int]) -> str:
    """A bar of eight heights for each number."""
    highest = max(numbers, default=0) or 1
    return "".join(LEVELS[-(-8 * number // highest)] for number in numbers)


def bar(part: int, whole: int, width: int = BAR) -> str:
    """A bar, beside its number."""
    return "█" * (-(-width * part // whole) if whole else 0)


@click.command()
@click.option("--last", type=MOMENT, metavar="7d", help="Since so long ago; else the current period.")
@click.option("--from", "from_", type=MOMENT)
@click.option("--to", type=MOMENT)
@click.option("--by", type=click.Choice(["tool", "status", "api_key", "api_key_root"]), default="tool")
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
        _chart(app, found, plan)
    else:
        app.terminal.rows(found.raw["groups"], GROUPS)
    return Exit.DONE


def _chart(app: App, found: models.UsageReport, plan: models.Subscription) -> None:
    out = app.terminal.out
    numbers = [point.tokens_used for point in found.series]
    room = max(10, min(out.width, 120) - 50)
    first, final = f"{found.from_:%d %b}", f"{found.to:%d %b}"
    out.print(Text.assemble("tokens  ", f"{first} ", (sparkline(numbers[-room:]), "cyan"), f" {final}"))
    tokens = plan.tokens
    share = f" of {tokens.granted:,} ({100 * tokens.charged / max(tokens.granted, 1):.1f} %)" if tokens.granted else ""
    out.print(f"charged {tokens.charged:,}{share}, resets {tokens.resets_at:%d %b}")
    whole = max((group["tokens_used"] for group in found.raw["groups"]), default=0)
    name = Column("by", GROUPS[0].of)
    wide = out.width >= 80
    for group in found.raw["groups"]:
        failed = f"   {100 * group['failed'] / max(group['invocations'], 1):.1f} % failed" if wide else ""
        label = name.value(group)
        out.print(
            Text.assemble(
                f"{label:{16 if wide else 12}} ", (bar(group["tokens_used"], whole, BAR if wide else 10), "cyan"),
                f" {group['tokens_used']:,}{failed}", f"   p95 {group['latency_p95_ms'] or 0:,} ms",
            )
        )  # fmt: skip


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "format_", type=click.Choice(["csv", "ndjson"]), help="Else by the name of the file.")
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
@click.option("--now", is_flag=True, help="At once, not with the period.")
@command
def cancel_plan(app: App, /, *, now: bool) -> int:
    """End the subscription, with its period."""
    app.confirm("End the subscription at once?" if now else "End the subscription with this period?")
    with app.account() as client:
        app.terminal.one(client.subscription.cancel(at_period_end=not now).raw, CURRENT)
    return Exit.DONE


@click.command()
@click.option("--month", metavar="2026-11", help="Else the current period.")
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="DIR", help="Keep the rows, and compare with those kept."
)
@click.option(
    "--from", "kept", type=click.Path(path_type=Path), metavar="DIR", help="Check rows that were kept, offline."
)
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
        raise click.UsageError(f"{month!r} is no month: 2026-11") from error
    return start, (start + timedelta(days=31)).replace(day=1)
