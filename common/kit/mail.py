"""The outbound client for mail: an SMTP server, or without one `.eml` files in a directory, for development.

`SMTP_URL` is `smtp://[user:password@]host[:port]` (elsewhere than on this machine: STARTTLS when the server offers
it, and no password in the clear) or `smtps://…` (TLS from the start).
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import formatdate, make_msgid, parseaddr
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from common.kit import clock, log

TIMEOUT = 10.0
_HERE = {"localhost", "127.0.0.1", "::1"}
_log = log.get(__name__)


class Unsent(Exception):
    """The server could not be reached or wants it later; trying again may help."""


class Refused(Unsent):
    """The server will not take this mail, now or later."""


class _State:
    smtp_url: str | None = None
    sender = ""
    directory = Path()


def configure(smtp_url: str | None, sender: str, directory: Path) -> None:
    """Where this process's mails go: to `smtp_url`, or as files into `directory`."""
    _State.smtp_url, _State.sender, _State.directory = smtp_url, sender, directory


def send(recipient: str, subject: str, text: str, html: str) -> None:
    """Hand over one mail. Raises `Unsent`, or `Refused` when another try would be pointless."""
    message = _message(recipient, subject, text, html)
    if _State.smtp_url is None:
        _write(message)
        return
    try:
        with _server(urlsplit(_State.smtp_url)) as server:
            server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        raise (Refused if all(code >= 500 for code in codes) else Unsent)(f"recipient refused: {codes}") from error
    except smtplib.SMTPNotSupportedError as error:
        raise Refused("the server does not take addresses outside ASCII") from error
    except (smtplib.SMTPException, OSError) as error:
        raise Unsent(type(error).__name__) from error


def _message(recipient: str, subject: str, text: str, html: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP if recipient.isascii() else SMTPUTF8)
    name, sender = parseaddr(_State.sender)
    message["From"] = _address(sender, name)
    message["To"] = _address(recipient)
    message["Subject"] = subject
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    # Links stay on one line, so that they can be read (and copied) in the raw mail too.
    message.set_content(text, cte="7bit" if text.isascii() else None)
    message.add_alternative(html, subtype="html", cte="7bit" if html.isascii() else None)
    return message


def _address(text: str, name: str = "") -> Address:
    """Taken apart by us: the library's own parser refuses what RFC 6531 allows."""
    username, _, domain = text.rpartition("@")
    return Address(name, username, domain)


@contextmanager
def _server(url: SplitResult) -> Iterator[smtplib.SMTP]:
    context = ssl.create_default_context()
    host = url.hostname or "localhost"
    if url.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, url.port or 465, timeout=TIMEOUT, context=context)
    else:
        server = smtplib.SMTP(host, url.port or 25, timeout=TIMEOUT)
    with server:
        server.ehlo()
        encrypted = url.scheme == "smtps"
        if not encrypted and host not in _HERE and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
            encrypted = True
        if url.username:
            if not _may_say_password(encrypted=encrypted, host=host):
                raise smtplib.SMTPException("the server offers no TLS; the password was not sent")
            server.login(unquote(url.username), unquote(url.password or ""))
        yield server


def _may_say_password(*, encrypted: bool, host: str) -> bool:
    return encrypted or host in _HERE


def _write(message: EmailMessage) -> None:
    """One file per mail, readable by this user only (it may hold a link that opens an account)."""
    _State.directory.mkdir(parents=True, mode=0o700, exist_ok=True)
    path = _State.directory / f"{clock.uuid7()}.eml"
    half = path.with_suffix(".part")  # nobody reads half a mail
    half.touch(mode=0o600)
    half.write_bytes(message.as_bytes())
    half.rename(path)
    _log.info("mail written", path=str(path), subject=message["Subject"])
