"""How a command waits for an invocation: what it shows meanwhile, what it prints, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict

from rich.status import Status
from rich.text import Text

from joyfull import InvocationEnded, Job, models
from joyfull.cli.common import App
from joyfull.cli.exits import Exit
from joyfull.cli.terminal import Column, compact, when
from joyfull.waiting import ENDS

COLUMNS = [
    Column("id", "id"), Column("status", "status"), Column("tool", "tool.slug"),
    Column("charged", "billing.charged", right=True), Column("held", "billing.held", right=True),
    Column("tries", "attempts", right=True), Column("when", when("created_at")),
    Column("error", "error.code", folds=True),
]  # fmt: skip
DETAILS = [
    *COLUMNS[:3], Column("version", "tool.version"), *COLUMNS[3:6], Column("created", when("created_at")),
    Column("started", when("started_at")), Column("finished", when("finished_at")), Column("error", "error.code"),
    Column("detail", "error.detail"), Column("waiting for", "waiting.reason"), Column("request", "request_id"),
    Column("output", lambda row: None if row.get("output") is None else compact(row["output"])),
]  # fmt: skip


def about(invocation: models.Invocation) -> str:
    """What there is to say beside its status: what it waits for, which attempt it is, its tokens, why it failed."""
    parts = [
        f"waiting: {invocation.waiting.reason}" if invocation.waiting else "",
        f"attempt {invocation.attempts}" if invocation.attempts else "",
        cost_of(invocation) if invocation.status in ENDS else f"holds {invocation.billing.held:,}",
        invocation.error.code if invocation.error else "",
    ]
    return "   ".join(filter(None, parts))


def line_of(invocation: models.Invocation) -> str:
    """Where an invocation is, in one line."""
    return f"{invocation.status}   {about(invocation)}"


def cost_of(invocation: models.Invocation) -> str:
    """What was charged of what was held."""
    return f"charged {invocation.billing.charged:,} of {invocation.billing.held:,}"


class Running:
    """Where an invocation is, and for how long it has been waited for: different at every look."""

    def __init__(self, invocation: models.Invocation) -> None:
        self.invocation = invocation
        self._began = time.monotonic()

    def __rich__(self) -> Text:
        return Text(f"{line_of(self.invocation)}   {time.monotonic() - self._began:.1f} s")


def end_of(app: App, invocation: models.Invocation) -> Text:
    """How an invocation ended, in one line."""
    error = invocation.error
    seconds = ""
    if invocation.finished_at is not None:
        seconds = f" after {(invocation.finished_at - invocation.created_at).total_seconds():.1f} s"
    sentence = Text.assemble(
        app.terminal.state(invocation.status), f"  {invocation.id}{seconds}, {cost_of(invocation)}"
    )
    return sentence.append(f"  {error.code}: {error.detail}") if error else sentence


@contextmanager
def progress(app: App, job: Job) -> Iterator[Callable[[models.Invocation], None]]:
    """One line that changes, for people; else a line for each change. Its end is said by `end_of`."""
    if app.terminal.quiet or not app.terminal.err.is_terminal or app.terminal.err.is_dumb_terminal:
        yield lambda found: None if found.status in ENDS else app.terminal.note(line_of(found))
        return
    running = Running(job.invocation)
    with Status(running, console=app.terminal.err):
        yield lambda found: setattr(running, "invocation", found)


def followed(app: App, job: Job, timeout: float | None, *, cancel: bool = False, stream: bool = False) -> int:
    """Wait, print the output (with `stream`, while it is made), and say how it ended."""
    try:
        if stream:
            show_answer(app, job, timeout)
        else:
            with progress(app, job) as changed:
                job.wait(timeout, on_change=changed)
    except KeyboardInterrupt:
        return _left(app, job, cancel=cancel)
    succeeded = job.status == "succeeded"
    if app.terminal.format != "table":
        app.terminal.one(job.invocation.raw, DETAILS)
    elif succeeded and not stream:
        app.terminal.json(job.output)
    app.terminal.note(end_of(app, job.invocation))
    return Exit.DONE if succeeded else Exit.NOT_SUCCEEDED


def _left(app: App, job: Job, *, cancel: bool) -> Exit:
    if cancel:
        job.cancel()
        app.terminal.note("cancellation was requested")
    else:
        app.terminal.note(f"stopped waiting; the job continues: joyfull wait {job.id}")
    return Exit.GOES_ON


def show_answer(app: App, job: Job, timeout: float | None) -> None:
    """Print the text as it comes, and end its line; with --json-lines, each part."""
    printed = ""
    try:
        with job.stream(timeout) as answer, suppress(InvocationEnded):
            if app.terminal.format == "ndjson":
                for part in answer:
                    app.terminal.line(compact(asdict(part)))
            for text in answer.text():
                if app.terminal.format == "table":
                    printed = text
                    app.terminal.text(text)
    finally:
        if printed and not printed.endswith("\n"):
            app.terminal.text("\n")
