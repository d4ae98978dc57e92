"""Send mail through an SMTP server, or write `.eml` files to a directory when none is configured (development).

`SMTP_URL` is `smtp://[user:password@]host[:port]` (for remote hosts: STARTTLS when the server offers it, and no
password without TLS) or `smtps://…` (TLS from the start).
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
_LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}
_log = log.get(__name__)


class MailNotSent(Exception):
    """The server could not be reached or deferred the mail; a retry may succeed."""


class MailRejected(MailNotSent):
    """The server rejected the mail permanently."""


class _MailState:
    smtp_url: str | None = None
    sender = ""
    directory = Path()


def configure(smtp_url: str | None, sender: str, directory: Path) -> None:
    """Set where this process sends mail: to `smtp_url`, or as files into `directory`."""
    _MailState.smtp_url, _MailState.sender, _MailState.directory = smtp_url, sender, directory


def send(recipient: str, subject: str, text: str, html: str) -> None:
    """Send one mail. Raises `MailNotSent`, or `MailRejected` when a retry would be pointless."""
    message = _message(recipient, subject, text, html)
    if _MailState.smtp_url is None:
        _write(message)
        return
    try:
        with _server(urlsplit(_MailState.smtp_url)) as server:
            server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        permanent = all(code >= 500 for code in codes)
        raise (MailRejected if permanent else MailNotSent)(f"recipient refused: {codes}") from error
    except smtplib.SMTPNotSupportedError as error:
        raise MailRejected("the server does not support non-ASCII addresses") from error
    except (smtplib.SMTPException, OSError) as error:
        raise MailNotSent(type(error).__name__) from error


def _message(recipient: str, subject: str, text: str, html: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP if recipient.isascii() else SMTPUTF8)
    name, sender = parseaddr(_MailState.sender)
    message["From"] = _address(sender, name)
    message["To"] = _address(recipient)
    message["Subject"] = subject
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    # Keep links on one line, so that they can be read and copied from the raw mail too.
    message.set_content(text, cte="7bit" if text.isascii() else None)
    message.add_alternative(html, subtype="html", cte="7bit" if html.isascii() else None)
    return message


def _address(text: str, name: str = "") -> Address:
    """Split the address ourselves: the library's parser rejects addresses that RFC 6531 allows."""
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
        if not encrypted and host not in _LOCAL_HOSTS and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
            encrypted = True
        if url.username:
            if not _may_send_password(encrypted=encrypted, host=host):
                raise smtplib.SMTPException("the server offers no TLS; the password was not sent")
            server.login(unquote(url.username), unquote(url.password or ""))
        yield server


def _may_send_password(*, encrypted: bool, host: str) -> bool:
    return encrypted or host in _LOCAL_HOSTS


def _write(message: EmailMessage) -> None:
    """Write one file per mail, readable by this user only: it may contain a link that gives access to an account."""
    _MailState.directory.mkdir(parents=True, mode=0o700, exist_ok=True)
    path = _MailState.directory / f"{clock.uuid7()}.eml"
    partial = path.with_suffix(".part")  # renamed when complete, so that readers never see half a mail
    partial.touch(mode=0o600)
    partial.write_bytes(message.as_bytes())
    partial.rename(path)
    _log.info("mail written", path=str(path), subject=message["Subject"])
