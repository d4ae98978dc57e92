"""`listen`: the account's events, posted to a receiver on this machine; no tunnel, and no open port."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import click
from rich.text import Text

from joyfull import Client, webhooks
from joyfull.cli.common import App, Option, command
from joyfull.cli.exits import Exit
from joyfull.cli.files import state_directory
from joyfull.cli.terminal import Terminal
from joyfull.errors import ConnectionFailed
from joyfull.exchange import Request
from joyfull.private_files import write_private
from joyfull.transport import SyncTransport
from joyfull.wire import encode

COMPLETED = tuple(f"invocation.{end}" for end in ("succeeded", "failed", "canceled", "expired"))
#: Seconds between tries with --retry: the platform's first four.
RETRIES = (5, 300, 1800, 7200)


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


class Receiver:
    """An address on this machine."""

    def __init__(self, target: str, secret: str) -> None:
        parts = urlsplit(target if "//" in target else f"http://{target}")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path or '/'}"
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._transport = SyncTransport(f"{parts.scheme}://{parts.netloc}", None)
        self._secret = secret

    def post(self, identifier: str, body: bytes) -> tuple[bool, str]:
        """Whether it was taken, and what was answered in which time."""
        headers = {"Content-Type": "application/json", **webhooks.sign(body, self._secret, id=identifier)}
        began = time.monotonic()
        try:
            response = self._transport.send(
                Request("POST", self._path, headers=tuple(headers.items()), body=body, timeout=15)
            )
        except ConnectionFailed as error:
            return False, f"no answer ({error})"
        taken = 200 <= response.status < 300
        return taken, f"{response.status} in {1000 * (time.monotonic() - began):.0f} ms"


def types_of(names: str) -> list[str]:
    """Types of events; `completed` is the four ends."""
    chosen = [name for name in names.split(",") if name]
    return [each for name in chosen for each in (COMPLETED if name == "completed" else (name,))]


@click.command()
@click.option("--forward-to", required=True, metavar="URL", help="localhost:3000/hooks")
@click.option("--events", "names", default="", metavar="TYPES", help="completed, invocation.failed, …; all without it.")
@click.option("--resume", is_flag=True, help="Go on after the last event that was forwarded to this address.")
@click.option("--retry", is_flag=True, help="Try a failing receiver again as the platform would, before going on.")
@click.option(
    "--secret-file", type=click.Path(path_type=Path), help="Sign with this; else the account's default secret."
)
@click.option("--limit", type=int, metavar="N", help="Stop after so many events.")
@click.option("--verbose", is_flag=True, help="A line each minute, also when nothing comes.")
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
    """Forward the account's events to a receiver on this machine, signed as the platform signs them."""
    with app.client() as client:
        secret = secret_file.read_text().strip() if secret_file else client.webhooks.default_secret().secret
        receiver = Receiver(forward_to, secret)
        place = Place.of(client.base_url, receiver.url)
        if resume:
            place.load()
        filters: dict[str, Option] = {"type": types_of(names)} if names else {}
        if place.cursor is None:
            filters["from_"] = _now_there(client)
        _tell_outages(app.terminal)
        app.terminal.note(f"ready: forwarding to {receiver.url}, {'resuming' if resume else 'from now on'}")
        return _forward(app, client, receiver, place, filters, retry=retry, limit=limit, verbose=verbose)


def _now_there(client: Client) -> datetime:
    """The platform's time, to the second: a clock of this machine that is ahead would hide what comes next."""
    _, response = client.with_raw.platform.health()
    said = response.headers.get("date")
    return parsedate_to_datetime(said) if said else datetime.now(UTC)


def _forward(
    app: App,
    client: Client,
    receiver: Receiver,
    place: Place,
    filters: dict[str, Option],
    *,
    retry: bool,
    limit: int | None,
    verbose: bool,
) -> int:
    forwarded = 0
    heard = time.monotonic()
    for page in client.events.follow(place.cursor, **filters).pages():
        for event in page.items:
            if event.id in place.answered:
                continue
            _deliver(app.terminal, receiver, dict(event.raw), retry=retry)
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
            app.terminal.note(f"{datetime.now():%H:%M:%S} listening, {forwarded:,} forwarded")  # noqa: DTZ005 - for people
    return Exit.FAILED


def _deliver(terminal: Terminal, receiver: Receiver, event: dict[str, Option], *, retry: bool) -> None:
    """Post one event, and say what came of it."""
    body = encode({name: event[name] for name in ("type", "timestamp", "data")})
    for delay in (*(RETRIES if retry else ()), None):
        taken, answer = receiver.post(event["id"], body)
        subject = event["data"].get("id", "")
        sign = ("→ ", "green") if taken else ("✗ ", "red")
        moment = f"{datetime.now():%H:%M:%S}"  # noqa: DTZ005 - for people
        terminal.out.print(Text.assemble(f"{moment} {event['type']:22} {subject} ", sign, answer), soft_wrap=True)
        if taken or delay is None:
            return
        terminal.note(f"  again in {delay} s")
        time.sleep(delay)


class _Outages(logging.Handler):
    """Says when the platform cannot be reached, and that it can be again."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.DEBUG)
        self._terminal = terminal
        self._since: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """One line for the beginning of an outage, and one for its end."""
        if record.levelno >= logging.INFO and self._since is None:
            self._since = time.monotonic()
            self._terminal.note(f"offline: {record.getMessage()}")
        elif record.levelno == logging.DEBUG and self._since is not None and record.getMessage().endswith(": 200"):
            self._terminal.note(f"resumed after {time.monotonic() - self._since:.0f} s")
            self._since = None


def _tell_outages(terminal: Terminal) -> None:
    logger = logging.getLogger("joyfull")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(_Outages(terminal))


@click.command()
@click.argument("type")
@click.option("--forward-to", required=True, metavar="URL", help="localhost:3000/hooks")
@click.option("--secret-file", type=click.Path(path_type=Path), required=True, help="What the receiver verifies with.")
@command
def trigger(app: App, /, *, type: str, forward_to: str, secret_file: Path) -> int:
    """Post an event that never happened, for tests of a receiver; takes no account."""
    name = f"{uuid4()}"
    data = {"id": f"{uuid4()}", "status": type.rpartition(".")[2], "links": {}}
    event = {"id": name, "type": type, "timestamp": datetime.now(UTC).isoformat(), "data": data}
    receiver = Receiver(forward_to, secret_file.read_text().strip())
    taken, answer = receiver.post(name, encode({key: event[key] for key in ("type", "timestamp", "data")}))
    app.terminal.line(f"{type} {name} → {answer}")
    return Exit.DONE if taken else Exit.FAILED
