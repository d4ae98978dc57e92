"""What every command shares: the client, the options of output, and values on the command line."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from joyfull import Client, Session, configuration
from joyfull.cli.files import session_file
from joyfull.cli.terminal import FORMATS, Row, Terminal
from joyfull.credentials import Store
from joyfull.wire import Json

P = ParamSpec("P")
T = TypeVar("T")
Option = Json  # what Click has parsed and checked; the client's own types are narrower


class Retries(logging.Handler):
    """Says what is tried again, and why: nobody looks at a command that is silent for long."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.INFO)
        self.terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        """One line for each; none where stderr has the problem document."""
        if self.terminal.format == "table":
            self.terminal.note(f"  {record.getMessage()}")


def say_retries(handler: Retries) -> None:
    """From now on."""
    logger = logging.getLogger("joyfull")
    logger.setLevel(min(logging.INFO, logger.getEffectiveLevel()))
    logger.handlers[:] = [handler]


@dataclass(slots=True)
class App:
    """What was said before the name of the command."""

    terminal: Terminal
    profile: str | None = None
    base_url: str | None = None
    yes: bool = False
    timeout: float = 30.0

    @property
    def profile_name(self) -> str:
        """Whose files are used."""
        return self.profile or os.environ.get("JOYFULL_PROFILE") or "default"

    def kept_session(self) -> Session | None:
        """That of `login --session`."""
        store = session_file(self.profile_name)
        return Session(store=store) if store.path.exists() else None

    def client(self, session: Session | None = None, journal: Path | None = None) -> Client:
        """The API. The command is a program like any other, and says so."""
        given = session or (None if os.environ.get("JOYFULL_API_KEY") else self.kept_session())
        new = session is not None and not configuration.exists(self.profile_name)  # `login` makes it
        say_retries(Retries(self.terminal))
        return Client(
            base_url=self.base_url or (os.environ.get("JOYFULL_BASE_URL", configuration.DEFAULT_URL) if new else None),
            profile=None if new else self.profile,
            session=given,
            timeout=self.timeout,
            journal=journal,
            user_agent_suffix="joyfull-cli",
        )

    def confirm(self, question: str) -> None:
        """Ask, where somebody can answer; else it takes --yes."""
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise click.UsageError(f"{question} Cannot ask here: use --yes to confirm.")
        if not click.confirm(question, err=True):
            raise click.Abort

    def session(self, store: Store | None = None) -> Session:
        """That of an address and a password, asked for."""
        email = click.prompt("E-mail", err=True)
        return Session(email, secret("Password"), store or Store())

    @contextmanager
    def account(self) -> Iterator[Client]:
        """What account commands take: the session that is kept, or one that ends with the command."""
        kept = self.kept_session()
        with self.client(kept or self.session()) as client:
            try:
                yield client
            finally:
                if kept is None:
                    client.logout()


def secret(what: str) -> str:
    """From a prompt, or from stdin; never from an argument."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, err=True))
    return sys.stdin.readline().rstrip("\n")


def command(function: Callable[Concatenate[App, P], T]) -> Callable[P, T]:
    """A command that is given the app, and has the options of output."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON document, as the API returns it.")
    @click.option("--json-lines", is_flag=True, help="One JSON object per line.")
    @click.option("-o", "--output", type=click.Choice(FORMATS), default=None, help="How data is printed.")
    @click.option("--fields", default="", metavar="A,B", help="Only these members (a.b for one inside).")
    @click.pass_context
    @wraps(function)
    def run(context: click.Context, /, *arguments: P.args, **named: P.kwargs) -> T:
        app: App = context.obj
        chosen = "json" if named.pop("as_json") else "ndjson" if named.pop("json_lines", False) else None
        named.pop("json_lines", None)
        app.terminal.format = str(named.pop("output") or chosen or app.terminal.format)
        app.terminal.fields = tuple(filter(None, str(named.pop("fields")).split(",")))
        return function(app, *arguments, **named)

    return run


def changes(look: Callable[[], list[Row]], state: Callable[[Row], Hashable], every: float) -> Iterator[list[Row]]:
    """What is new or in another state since the last look (newest first, as it came), again and again."""
    shown: set[Hashable] = set()
    while True:
        new = [each for each in look() if state(each) not in shown]
        shown.update(map(state, new))
        yield new
        time.sleep(every)


def values(pairs: tuple[str, ...]) -> Json:
    """An input: `key=value` is text, `key:=json` JSON, `@file` a JSON file; nothing at all: JSON on stdin."""
    if not pairs:
        return parsed(sys.stdin.read(), "stdin") if not sys.stdin.isatty() else {}
    if len(pairs) == 1 and pairs[0].startswith("@"):
        return from_file(pairs[0][1:])
    found: dict[str, Json] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise click.UsageError(f"{pair!r} is neither key=value, key:=json nor @file; JSON is read from stdin")
        if name.endswith(":"):
            found[name[:-1]] = parsed(value, name[:-1])
        else:
            found[name] = Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value
    return found


def from_file(name: str) -> Json:
    """A JSON file; `-` is stdin."""
    try:
        return parsed(sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8"), name)
    except OSError as error:
        raise click.UsageError(f"{name}: {error.strerror}") from error


def parsed(text: str, what: str) -> Json:
    """JSON, or a sentence about where it is not."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{what} is not JSON: {error}") from error


def texts(pairs: tuple[str, ...]) -> dict[str, str] | None:
    """`key=value` as metadata has it."""
    if any("=" not in pair for pair in pairs):
        raise click.UsageError("metadata must be key=value")
    return dict(pair.split("=", 1) for pair in pairs) or None


_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Moment(click.ParamType):  # type: ignore[type-arg]  # not generic in older versions of Click
    """A time: RFC 3339, a day (UTC), or so long ago (`7d`, `12h`)."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """An aware time."""
        text = str(value)
        if text[:-1].isdigit() and text[-1] in _UNITS:
            return datetime.now(UTC) - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is not a time: 2026-11-29, 2026-11-29T08:00:00Z or 7d", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


MOMENT = Moment()
