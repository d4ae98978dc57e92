"""Mail: every queued mail is sent, whatever the server replies at first; without a server it is written to a file."""

from __future__ import annotations

import re
import stat
from collections import Counter
from email import message_from_bytes
from email.policy import default
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from jinja2 import UndefinedError

from common.identity import accounts
from common.identity.audit import OPERATOR
from common.kit import mail
from common.notifications import mails, rendering
from common.settings import Settings
from tests.accounts.conftest import Mailbox, one, text_of
from tests.accounts.people import PASSWORD, Api, Person

Sql = psycopg.Connection[Any]


def due(sql: Sql) -> None:
    sql.execute("update mails set due_at = now() where due_at is not null")


def test_a_server_that_is_busy_is_asked_again(api: Api, mailbox: Mailbox, sql: Sql) -> None:
    person = api.person()
    mailbox.replies = ["451 greylisted", "451 greylisted"]
    assert mailbox.deliver() == []
    assert mailbox.deliver() == [], "not before it is due"
    due(sql)
    assert mailbox.deliver() == []
    due(sql)
    assert [message["To"] for message in mailbox.deliver()] == [person.email]
    assert sql.execute("select tries, outcome from mails").fetchall() == [(3, "sent")]


def test_a_server_that_refuses_is_not_asked_again(api: Api, mailbox: Mailbox, sql: Sql) -> None:
    api.person()
    mailbox.replies = ["550 no such user"]
    assert mailbox.deliver() == []
    assert sql.execute("select tries, outcome, due_at from mails").fetchall() == [(1, "refused", None)]


def test_a_server_that_is_down_delays_and_at_last_loses_a_mail(
    db: None, api: Api, sql: Sql, settings: Settings
) -> None:
    api.person()
    mail.configure("smtp://127.0.0.1:1", settings.mail_from, settings.data_dir)
    for _ in range(len(mails.RETRY_AFTER) + 1):
        assert one(sql, "select outcome from mails") is None
        due(sql)
        mails.send_due("https://hub.example")
    mail.configure(None, settings.mail_from, settings.data_dir / "mail")
    assert one(sql, "select outcome from mails") == "given up"


def test_a_sender_that_dies_leaves_the_mail_to_the_next(api: Api, mailbox: Mailbox, sql: Sql) -> None:
    api.person()
    assert mails._claim() is not None
    assert mailbox.deliver() == [], "the lease of the crashed sender"
    due(sql)
    assert len(mailbox.deliver()) == 1


@pytest.mark.parametrize("address", ["jörg@example.com", "a@bücher.example", "o'neil+x@example.com"])
def test_addresses_of_all_kinds_are_reached(api: Api, mailbox: Mailbox, address: str) -> None:
    api.person(address)
    assert [message["To"] for message in mailbox.deliver()] == [address]


def test_a_password_for_the_server_is_not_sent_in_the_clear(db: None, settings: Settings) -> None:
    """Only to this machine: with a remote server, the exchange ends before the password is sent."""
    server = mail._server(urlsplit("smtp://me:secret@127.0.0.1:1"))
    with pytest.raises(OSError, match="refused"), server:
        pass
    assert mail._may_send_password(encrypted=False, host="mail.example") is False
    assert mail._may_send_password(encrypted=True, host="mail.example") is True
    assert mail._may_send_password(encrypted=False, host="127.0.0.1") is True


def test_without_a_server_mails_are_files_that_only_we_can_read(db: None, api: Api, settings: Settings) -> None:
    directory = settings.data_dir / "mail"
    for old in directory.glob("*.eml"):
        old.unlink()
    person = api.person()
    mails.send_due("https://hub.example")
    (file,) = directory.glob("*.eml")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    message = message_from_bytes(file.read_bytes(), policy=default)
    assert (message["To"], message["From"]) == (person.email, settings.mail_from)
    assert re.search(rb"^https://hub\.example/api/v1/auth/verify-email/[\w-]{43}\r$", file.read_bytes(), re.MULTILINE)
    file.unlink()


def test_a_stranger_is_sent_nothing_that_somebody_else_worded(api: Api, mailbox: Mailbox) -> None:
    """A person who opens an account with another's address chooses names, but they do not appear in our mails."""
    bait = "You won! https://evil.example"
    body = {"email": "stranger@example.com", "password": PASSWORD, "name": bait}
    assert api("POST", "/auth/register", json=body).status_code == 201
    Person(api, "", body["email"], PASSWORD).key(name=bait)
    assert api("POST", "/auth/password-reset", json={"email": body["email"]}).status_code == 202
    received = mailbox.deliver()
    assert len(received) == 3
    assert "evil" not in "".join(text_of(message) for message in received)


def test_a_mailbox_is_not_flooded_with_notices(api: Api, mailbox: Mailbox, sql: Sql) -> None:
    """An attacker cannot suppress a notice by causing many others."""
    person = api.person()
    mailbox.deliver()
    person.key()
    sql.execute(
        """insert into mails (id, template, recipient, data)
           select gen_random_uuid(), 'key_created', recipient, data from mails, generate_series(1, 24) n
           where template = 'key_created'"""
    )
    accounts.set_password(person.uuid, "set by an operator", actor=OPERATOR)
    subjects = Counter(message["Subject"] for message in mailbox.deliver())
    assert subjects == {"An API key was created": 20, "Your password was changed": 1}


def test_what_a_template_inserts_stays_within_its_line_and_is_escaped() -> None:
    key = "one\n\nsecond <paragraph>\r\nX-Header: 1"
    data = {"verified": True, "key": key, "at": "now", "ip": None}
    content = rendering.render("key_created", "a@example.com", **data)
    assert content.subject == "An API key was created"
    assert "an API key “one second <paragraph> X-Header: 1” was created" in content.text.split("\n\n")[1]
    assert "“one second &lt;paragraph&gt; X-Header: 1”" in content.html
    assert len(content.text.split("\n\n")) == content.html.count("<p>") == 4
    with pytest.raises(UndefinedError):
        rendering.render("key_created", "a@example.com", at="now")


def test_every_kind_of_mail_has_a_text() -> None:
    data = {"at": "now", "ip": "::1", "link": "https://hub.example/x", "name": None, "claimed": True}
    data |= {"verified": True, "key": "k", "url": "https://u.example", "reason": "r", "how": "by an operator"}
    for template in mails._TEMPLATES:
        content = rendering.render(template, "a@example.com", **data)
        assert content.subject.count("\n") == 0 and content.text.startswith("Hello,\n\n"), template
        assert ("<code>https://hub.example/x</code>" in content.html) == ("https://hub.example/x" in content.text)
