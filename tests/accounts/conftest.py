"""Two web processes on the same servers, so that no state can be local to one, and a mail server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, LiteralString

import psycopg
import pytest
import requests
from aiosmtpd.controller import Controller

from common.kit import mail
from common.notifications import mails
from common.settings import Settings
from dev.ports import free_port
from tests.accounts.people import Api
from tests.web.conftest import Service, serving

PUBLIC_URL = "https://hub.example"


@pytest.fixture(scope="session")
def _servers(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Service]]:
    directory = tmp_path_factory.mktemp("web")
    changes = {"app": "wsgi:app", "PUBLIC_URL": PUBLIC_URL}
    with serving(environ, directory, **changes) as one, serving(environ, directory, **changes) as other:
        yield [one, other]


@pytest.fixture
def api(db: None, _servers: list[Service]) -> Api:
    """The API on fresh tables."""
    return Api(_servers[0].base)


@pytest.fixture
def other(db: None, _servers: list[Service]) -> Api:
    """The same API, served by another process."""
    return Api(_servers[1].base)


@pytest.fixture
def logged(_servers: list[Service]) -> Callable[[], str]:
    """Everything that the two processes have logged so far."""
    return lambda: "".join(service.log.read_text() for service in _servers)


@pytest.fixture
def said(_servers: list[Service]) -> Callable[[requests.Response], set[str]]:
    """The events logged for a request, by either process."""

    def events(answer: requests.Response) -> set[str]:
        (service,) = (s for s in _servers if answer.url.startswith(s.base))
        lines = service.logged(answer.headers["X-Request-ID"]).splitlines()
        return {json.loads(line)["event"] for line in lines}

    return events


@pytest.fixture
def sql(db: None, database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Direct access to the database, to inspect it and to move timestamps into the past."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def one(sql: psycopg.Connection[Any], query: LiteralString, *values: object) -> Any:
    """The first column of the first row."""
    row = sql.execute(query, values).fetchone()
    assert row is not None, query
    return row[0]


@dataclass
class Mailbox:
    """An SMTP server that stores what it receives; `replies` are its replies to the next recipients."""

    received: list[EmailMessage] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self.replies.pop(0) if self.replies else "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        self.received.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"

    def deliver(self) -> list[EmailMessage]:
        """Send due mail, as the worker does; returns what arrived."""
        self.received.clear()
        mails.send_due(PUBLIC_URL)
        return list(self.received)

    def token(self, kind: str) -> str:
        """Send due mail; returns the token in the one mail with a link of that kind."""
        found = [t for m in self.deliver() for t in re.findall(rf"/{kind}/(\S+)", text_of(m))]
        assert len(found) == 1, found
        return str(found[0])


@pytest.fixture
def mailbox(db: None, settings: Settings) -> Iterator[Mailbox]:
    box = Mailbox()
    port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port, enable_SMTPUTF8=True)
    controller.start()
    mail.configure(f"smtp://127.0.0.1:{port}", settings.mail_from, settings.data_dir / "mail")
    yield box
    mail.configure(None, settings.mail_from, settings.data_dir / "mail")
    controller.stop()


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())
