"""The period as an account: what was granted, charged day by day, is held, and is left."""

from __future__ import annotations

import click
from rich.text import Text

from joyfull import models
from joyfull.cli.common import App, Option, command
from joyfull.cli.exits import Exit
from joyfull.cli.terminal import Column, Row

LINES = [
    Column("day", "day"), Column("tokens", "tokens", right=True), Column("what", "what", folds=True),
]  # fmt: skip


@click.command()
@click.option("--period", metavar="ID", help="An earlier one: joyfull api GET /subscriptions/periods")
@click.option("--check", is_flag=True, help="Recompute it from its rows; exits with 8 if they differ.")
@command
def statement(app: App, /, *, period: str | None, check: bool) -> int:
    """Grants, charges and holds, to the sum."""
    chosen: Option = {"period": period} if period else {}
    with app.client() as client:
        checked = client.subscription.check_statement(**chosen) if check else None
        found = client.subscription.statement(**chosen)
    if app.terminal.format != "table":
        app.terminal.one(found.raw, [])
    else:
        app.terminal.note(f"{found.period.plan}, {found.period.starts_at:%d %b %Y} to {found.period.ends_at:%d %b %Y}")
        app.terminal.rows(lines_of(found), LINES)
    last = checked or found.checked
    if last is None:
        return Exit.DONE
    sign = ("✗ ", "red") if last.difference else ("✓ ", "green")
    words = f"recomputed from {last.rows:,} rows at {last.at:%d %b %H:%M} UTC, difference: {last.difference:,}"
    app.terminal.note(Text.assemble(sign, words))
    return Exit.BOOKS_DIFFER if last.difference else Exit.DONE


def lines_of(found: models.Statement) -> list[Row]:
    """Its lines, signed, in order; the last one is their sum."""
    lines: list[Row] = [
        {
            "day": f"{grant.created_at:%Y-%m-%d}",
            "tokens": _signed(grant.tokens),
            "what": f"{grant.kind}: {grant.reason}",
        }
        for grant in found.grants
    ]
    lines += [
        {"day": f"{each.day}", "tokens": _signed(-each.tokens), "what": f"{each.invocations:,} invocations"}
        for each in found.charges
    ]
    lines += [
        {"day": f"{hold.created_at:%Y-%m-%d}", "tokens": _signed(-hold.tokens), "what": f"held: {hold.tool}"}
        for hold in found.holds
    ]
    if found.other_holds.invocations:
        others = found.other_holds
        lines.append({"tokens": _signed(-others.tokens), "what": f"held: {others.invocations:,} more"})
    left = "no limit" if found.available is None else f"{found.available:,}"
    return [*lines, {"tokens": left, "what": "available"}]


def _signed(tokens: int | None) -> str:
    return "no limit" if tokens is None else f"{tokens:+,}"
