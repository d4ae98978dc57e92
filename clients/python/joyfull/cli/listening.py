"""`listen`: the account's events, posted to a receiver on this machine; no tunnel, and no open port."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from logging import LogRecord
from pathlib import Path
from uuid import uuid4

import click

from joyfull import Client
from joyfull.cli.common import App, Option, Retries, command, say_retries
from joyfull.cli.exits import Exit
from joyfull.cli.files import state_directory
from joyfull.cli.receiving import Forwarder, Receiver, moment
from joyfull.cli.terminal import Terminal
from joyfull.models import Event
from joyfull.paging import Page
from joyfull.private_files import write_private
from joyfull.resources.events import LONGEST_WAIT

COMPLETED = tuple(f"invocation.{end}" for end in ("succeeded", "failed", "canceled", "expired"))


@dataclass(slots=True)
class Place:
    """How far a receiver is: the cursor before a page, and which of the page were answered."""

    path: Path
    cursor: str | None = None
    answered: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, server: str, target: str) -> Place:
        """That of a server and a receiver."""
        name = hashlib.sha256(f"{server} {target}".encode()).hexdigest()[:16]
        return cls(state_directory() / f"listen-{name}.json")

    def load(self) -> None:
        """Go on where the last one was."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise click.UsageError("nothing to resume: no event was forwarded to this address yet") from error
        self.cursor, self.answered = kept["cursor"], kept["answered"]

    def save(self) -> None:
        """On disk when this returns."""
        write_private(self.path, json.dumps({"cursor": self.cursor, "answered": self.answered}))


def types_of(names: str) -> list[str]:
    """Types of events; `completed` is the four ends."""
    chosen = [name for name in names.split(",") if name]
    return [each for name in chosen for each in (COMPLETED if name == "completed" else (name,))]


@click.command()
@click.option("--forward-to", required=True, metavar="URL", help="localhost:3000/hooks")
@click.option("--events", "names", default="", metavar="TYPES", help="completed, invocation.failed, … Default: all.")
@click.option("--resume", is_flag=True, help="Continue after the last event that was forwarded to this address.")
@click.option("--retry", is_flag=True, help="Retry a failing receiver as the platform would, before continuing.")
@click.option(
    "--secret-file", type=click.Path(path_type=Path), help="Sign with this. Default: the account's default secret."
)
@click.option("--limit", type=int, metavar="N", help="Stop after this many events.")
@click.option("--verbose", is_flag=True, help="A line each minute, even without events.")
@command
def listen(
    app: App,
    /,
    *,
    forward_to: str,
    names: str,
    resume: bool,
    retry: bool,
    secret_file: Path | None,
    limit: int | None,
    verbose: bool,
) -> int:
    """Forward events to a receiver on this machine. They are signed as the platform signs them."""
    with app.client() as client:
        secret = secret_file.read_text().strip() if secret_file else client.webhooks.default_secret().secret
        receiver = Receiver(forward_to, secret)
        place = Place.of(client.base_url, receiver.url)
        if resume:
            place.load()
        filters: dict[str, Option] = {"type": types_of(names)} if names else {}
        if place.cursor is None:
            filters["from_"] = _now_there(client)
        outages = Outages(app.terminal)
        say_retries(outages)
        app.terminal.note(f"ready: forwarding to {receiver.url}, {'resuming' if resume else 'from now on'}")
        if secret_file is None:
            app.terminal.note("signed with the account's default secret: joyfull webhooks secret")
        pages = client.events.follow(place.cursor, **filters, wait=_wait(app)).pages()
        forwarder = Forwarder(app.terminal, receiver, retry=retry)
        forwarder.take_keys()
        return _forward(app.terminal, map(outages.over, pages), forwarder, place, limit=limit, verbose=verbose)


def _now_there(client: Client) -> datetime:
    """The platform's time, to the second: a clock of this machine that is ahead would hide what comes next."""
    _, response = client.with_raw.platform.health()
    said = response.headers.get("date")
    return parsedate_to_datetime(said) if said else datetime.now(UTC)


def _wait(app: App) -> int:
    """Seconds that the platform may keep a request for events open; a silent network is noticed ten seconds later."""
    return max(1, min(LONGEST_WAIT, int(app.timeout)))


def _forward(
    terminal: Terminal,
    pages: Iterable[Page[Event]],
    forwarder: Forwarder,
    place: Place,
    *,
    limit: int | None,
    verbose: bool,
) -> int:
    forwarded = 0
    heard = time.monotonic()
    for page in pages:
        for event in page.items:
            if event.id in place.answered:
                continue
            forwarder.forward(event.raw)
            place.answered.append(event.id)
            place.save()
            forwarded += 1
            if forwarded == limit:
                return Exit.DONE
        if page.next_cursor is not None and (page.items or place.cursor is None):
            place.cursor, place.answered = page.next_cursor, []
            place.save()
        if verbose and time.monotonic() - heard >= 60:
            heard = time.monotonic()
            terminal.note(f"{moment()} listening, {forwarded:,} forwarded")
    return Exit.FAILED


class Outages(Retries):
    """Says when the platform cannot be reached, and that it can be again."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(terminal)
        self._answered = time.monotonic()
        self._ongoing = False

    def emit(self, record: LogRecord) -> None:
        """One line for the beginning of an outage, with the first request that is tried again."""
        if not self._ongoing:
            self._ongoing = True
            self.terminal.note(f"{moment()} offline: {record.getMessage()}")

    def over(self, page: Page[Event]) -> Page[Event]:
        """One line for its end, with the first page that comes."""
        if self._ongoing:
            seconds = time.monotonic() - self._answered
            count = f"{len(page.items)}{' and more' if page.has_more else ''}"
            self.terminal.note(f"{moment()} offline {seconds:.0f} s, resumed, events caught up: {count}")
        self._ongoing, self._answered = False, time.monotonic()
        return page


@click.command()
@click.argument("type")
@click.option("--forward-to", required=True, metavar="URL", help="localhost:3000/hooks")
@click.option("--secret-file", type=click.Path(path_type=Path), required=True, help="What the receiver verifies with.")
@command
def trigger(app: App, /, *, type: str, forward_to: str, secret_file: Path) -> int:
    """Post an event that never happened. For tests of a receiver; no account is needed."""
    name = f"{uuid4()}"
    data = {"id": f"{uuid4()}", "status": type.rpartition(".")[2], "links": {}}
    event = {"id": name, "type": type, "timestamp": datetime.now(UTC).isoformat(), "data": data}
    taken, answer = Receiver(forward_to, secret_file.read_text().strip()).post(event)
    app.terminal.line(f"{type} {name} → {answer}")
    return Exit.DONE if taken else Exit.FAILED
