"""Invocations: run, submit, wait, get, list, events, cancel."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from joyfull.cli.common import MOMENT, App, Option, command, texts, values
from joyfull.cli.exits import Exit
from joyfull.cli.terminal import compact
from joyfull.cli.waiting import COLUMNS, DETAILS, about, followed, line_of

INPUT = click.argument("pairs", nargs=-1, metavar="[KEY=VALUE | KEY:=JSON | @FILE]...")
TIMEOUT = click.option(
    "--timeout", type=float, default=300.0, metavar="S", show_default=True, help="Seconds to wait; the job continues."
)
STREAM = click.option("--stream", is_flag=True, help="Print the answer while it is written.")
ORDER = (
    click.option("--max-tokens", type=int, help="The most tokens it may cost."),
    click.option("--expires-in", type=int, metavar="S", help="Seconds within which it has to start."),
    click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Metadata, to find it by; repeatable."),
    click.option("--webhook-url", metavar="URL", help="URL to notify of its end."),
)


def order(function: Option) -> Option:
    """The options of a submit."""
    for option in reversed(ORDER):
        function = option(function)
    return click.argument("tool")(INPUT(function))


@click.command()
@order
@TIMEOUT
@STREAM
@click.option("--cancel-on-interrupt", is_flag=True, help="Ctrl-C cancels the job instead of only the wait.")
@command
def run(
    app: App,
    /,
    *,
    tool: str,
    pairs: tuple[str, ...],
    timeout: float,
    stream: bool,
    cancel_on_interrupt: bool,
    **options: Option,
) -> int:
    """Run a tool and print its output.

    Without arguments the input is read from stdin as JSON.
    """
    given = values(pairs)
    if stream:
        options["stream"] = True
    with app.client() as client:
        job = client.submit(tool, given, **_options(options))
        return followed(app, job, timeout, cancel=cancel_on_interrupt, stream=stream)


@click.command()
@order
@click.option("--name", help="With --journal: the same name is the same invocation, even after a crash.")
@click.option("--journal", type=click.Path(path_type=Path), help="File in which names are stored.")
@click.option("--idempotency-key", metavar="KEY", help="The same key is the same invocation for 24 hours.")
@command
def submit(
    app: App,
    /,
    *,
    tool: str,
    pairs: tuple[str, ...],
    name: str | None,
    journal: Path | None,
    idempotency_key: str | None,
    **options: Option,
) -> int:
    """Submit an invocation and print its id."""
    given = values(pairs)
    with app.client(journal=journal) as client:
        job = client.submit(tool, given, name=name, idempotency_key=idempotency_key, **_options(options))
    if app.terminal.format == "table":
        app.terminal.line(job.id)
    else:
        app.terminal.one(job.invocation.raw, DETAILS)
    app.terminal.note(f"{line_of(job.invocation)}{'   the same as before' if job.replayed else ''}")
    app.terminal.note(f"joyfull wait {job.id}")
    return Exit.DONE


def _options(options: dict[str, Option]) -> dict[str, Option]:
    return {**options, "metadata": texts(options["metadata"])}


@click.command()
@click.argument("id")
@TIMEOUT
@STREAM
@command
def wait(app: App, /, *, id: str, timeout: float, stream: bool) -> int:
    """Wait for an invocation. Its output is printed."""
    with app.client() as client:
        return followed(app, client.job(id), timeout, stream=stream)


@click.command()
@click.argument("id")
@command
def get(app: App, /, *, id: str) -> int:
    """Show an invocation."""
    with app.client() as client:
        app.terminal.one(client.invocations.get(id).raw, DETAILS)
    return Exit.DONE


@click.command(name="list")
@click.option("--status", multiple=True, help="queued, running, succeeded, failed, canceled, expired; repeatable.")
@click.option("--tool", help="Slug or id.")
@click.option("--from", "from_", type=MOMENT, help="2026-11-29, or 7d for a week ago.")
@click.option("--to", type=MOMENT)
@click.option("--error", help="Only failures with this code.")
@click.option("--limit", type=int, default=20, show_default=True, help="How many at most.")
@command
def list_(app: App, /, *, limit: int, **filters: Option) -> int:
    """List invocations, newest first."""
    chosen = {name: value for name, value in filters.items() if value}
    with app.client() as client:
        found = client.invocations.list(payloads=False, limit=min(limit, 100), **chosen)
        app.terminal.rows((each.raw for each in found.first(limit)), COLUMNS)
    return Exit.DONE


@click.command()
@click.argument("id")
@command
def events(app: App, /, *, id: str) -> int:
    """Show the states of an invocation. Each as it comes, until its end."""
    with app.client() as client:
        for each in client.job(id).events():
            if app.terminal.format in {"json", "ndjson"}:
                app.terminal.line(compact(each.raw))
            else:
                app.terminal.out.print(Text.assemble(app.terminal.state(each.status), f"   {about(each)}"))
    return Exit.DONE


@click.command()
@click.argument("ids", nargs=-1, required=True)
@command
def cancel(app: App, /, *, ids: tuple[str, ...]) -> int:
    """Cancel invocations."""
    with app.client() as client:
        for each in ids:
            found = client.invocations.cancel(each)
            app.terminal.line(found.id)
            app.terminal.note("its worker was asked to stop it" if found.status == "running" else found.status)
    return Exit.DONE
