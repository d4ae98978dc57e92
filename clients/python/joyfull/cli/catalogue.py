"""Tools: which there are, and what a call would cost."""

from __future__ import annotations

import click

from joyfull.cli.common import App, command, values
from joyfull.cli.exits import Exit
from joyfull.cli.jobs import INPUT
from joyfull.cli.terminal import Column, Row, compact


def price(row: Row) -> str:
    """A price in one line."""
    found = row["price"]
    per_unit = found["per_unit"]
    more = f" + {per_unit['tokens']:g} per {per_unit['unit']}" if per_unit else ""
    return f"{found['base_tokens']:,}{more}, at most {found['max_tokens']:,}"


SUMMARY = [
    Column("slug", "slug"), Column("price", price, folds=True), Column("name", "name", folds=True),
    Column("category", "category"),
    Column("p95 ms", "latency_p95_ms", right=True), Column("available", "is_available"),
]  # fmt: skip
DETAILS = [
    *SUMMARY[:4], Column("description", "description"), Column("version", "version"),
    Column("timeout s", "timeout_seconds"), Column("attempts", "max_attempts"),
    Column("input", lambda row: compact(row["input_schema"])),
    Column("example", lambda row: compact(row["example_input"])),
]  # fmt: skip
QUOTE = [
    Column("allowed", "allowed"), Column("because", "reason"), Column("price", price),
    Column("at most", "max_tokens"), Column("expected", "expected_tokens"), Column("available", "available"),
    Column("wait s", "estimated_wait_seconds"),
]  # fmt: skip


@click.command()
@click.argument("tool", required=False)
@click.option("-s", "--search", help="In names and descriptions.")
@click.option("--category", help="Only of this category.")
@command
def tools(app: App, /, *, tool: str | None, search: str | None, category: str | None) -> int:
    """List the tools, or show one."""
    with app.client() as client:
        if tool:
            app.terminal.one(client.tools.get(tool).raw, DETAILS)
        else:
            found = {"q": search, "category": category}
            chosen = {name: value for name, value in found.items() if value}
            app.terminal.rows((each.raw for each in client.tools.list(**chosen)), SUMMARY)  # type: ignore[arg-type]
    return Exit.DONE


@click.command()
@click.argument("tool")
@INPUT
@click.option("--max-tokens", type=int, help="Limit of the hold and the charge.")
@command
def quote(app: App, /, *, tool: str, pairs: tuple[str, ...], max_tokens: int | None) -> int:
    """Check an input and say what it would cost; nothing is charged."""
    given = values(pairs)
    with app.client() as client:
        found = client.tools.quote(tool, given, max_tokens=max_tokens)
    app.terminal.one(found.raw, QUOTE)
    return Exit.DONE if found.allowed else Exit.EXHAUSTED
