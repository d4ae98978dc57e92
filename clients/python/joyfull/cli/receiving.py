"""A receiver of webhooks on this machine: what it is sent, and what it answered."""

from __future__ import annotations

import sys
import threading
import time
from datetime import datetime
from urllib.parse import urlsplit

import click
from rich.text import Text

from joyfull import webhooks
from joyfull.cli.terminal import Row, Terminal
from joyfull.errors import ConnectionFailed
from joyfull.exchange import Request
from joyfull.transport import SyncTransport
from joyfull.wire import encode

#: Seconds between tries with --retry: the platform's first four.
RETRIES = (5, 300, 1800, 7200)


def moment() -> str:
    """The time of day, for people."""
    return f"{datetime.now():%H:%M:%S}"  # noqa: DTZ005 - of this machine


class Receiver:
    """An address on this machine."""

    def __init__(self, target: str, secret: str) -> None:
        try:
            parts = urlsplit(target if "//" in target else f"http://{target}")
        except ValueError as error:
            raise click.UsageError(f"{target!r} is not an address: {error}") from error
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path or '/'}"
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._transport = SyncTransport(f"{parts.scheme}://{parts.netloc}", None)
        self._secret = secret

    def post(self, event: Row) -> tuple[bool, str]:
        """Whether it was taken, and what was answered in which time."""
        body = encode({name: event[name] for name in ("type", "timestamp", "data")})
        headers = {"Content-Type": "application/json", **webhooks.sign(body, self._secret, id=event["id"])}
        began = time.monotonic()
        try:
            response = self._transport.send(
                Request("POST", self._path, headers=tuple(headers.items()), body=body, timeout=15)
            )
        except ConnectionFailed as error:
            return False, f"no answer ({error})"
        taken = 200 <= response.status < 300
        return taken, f"{response.status} in {1000 * (time.monotonic() - began):.0f} ms"


class Forwarder:
    """Posts events to a receiver, and says what came of each."""

    def __init__(self, terminal: Terminal, receiver: Receiver, *, retry: bool) -> None:
        self._terminal = terminal
        self._receiver = receiver
        self._retry = retry
        self._hint = ""
        self._refused: Row | None = None

    def forward(self, event: Row) -> None:
        """Once; or, to a receiver that fails, again as the platform would."""
        for delay in (*(RETRIES if self._retry else ()), None):
            if self._post(event) or delay is None:
                return
            self._terminal.note(f"  again in {delay} s")
            time.sleep(delay)

    def _post(self, event: Row) -> bool:
        taken, answer = self._receiver.post(event)
        said = ("→ ", "green") if taken else ("✗ ", "red")
        line = f"{moment()} {event['type']:22} {event['data'].get('id', '')} "
        self._terminal.out.print(Text.assemble(line, said, answer, "" if taken else self._hint), soft_wrap=True)
        if not taken or event is self._refused:
            self._refused = None if taken else event
        return taken

    def take_keys(self) -> None:
        """On a terminal: `r` and Enter post the last event again that the receiver refused."""
        if sys.stdin.isatty():
            self._hint = " (r and Enter: send again)"
            threading.Thread(target=self._read_keys, daemon=True).start()

    def _read_keys(self) -> None:
        for line in sys.stdin:
            if line.strip() == "r" and self._refused is not None:
                self._post(self._refused)
