"""Mail that the platform owes somebody: recorded with the change that causes it, sent by whoever sweeps.

A row says what the mail is about and to which address; the link in it is made when it goes out and is in no table. So
asking for a reset costs the same whether or not anybody has that address: nobody looks before the answer is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from common.errors import TooManyAttempts
from common.identity import email_addresses, one_time_links, rate_limits
from common.kit import clock, db, log, mail
from common.models.accounts import Mail, User
from common.queueing import messages

#: After the n-th failed try; then it is given up.
RETRY_AFTER = tuple(timedelta(seconds=s) for s in (10, 60, 300, 1800, 7200))
#: While a sender has it. Longer than an SMTP exchange can take.
LEASE = timedelta(seconds=120)
KEEP = timedelta(days=30)

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class MailContent:
    """A mail as text and HTML are made of it: paragraphs, and perhaps the one link that it is about."""

    recipient: str
    subject: str
    paragraphs: tuple[str, ...]
    link: str | None = None


def record(session: Session, template: str, recipient: str, **data: Any) -> None:
    """Owe somebody a mail, inside your transaction; `ring` after the commit. `data` holds no secret."""
    if template not in _COMPOSERS:
        raise ValueError(f"no such mail: {template}")
    session.execute(insert(Mail).values(id=clock.uuid7(), template=template, recipient=recipient, data=data))


def notify() -> None:
    """Tell a sender that there is work. Best effort: the sweep looks anyway."""
    messages.notify(messages.SEND_MAILS)


def send_due(public_url: str, *, limit: int = 50, seconds: float = 30.0) -> int:
    """Send what is due, oldest first, for so long at most. Returns how many were dealt with."""
    deadline = clock.monotonic() + seconds
    done = 0
    while done < limit and clock.monotonic() < deadline:
        due = _claim()
        if due is None:
            break
        _deal_with(due, public_url)
        done += 1
    return done


def purge() -> int:
    """Forget what was sent or given up long ago."""
    with db.transaction() as session:
        gone = session.execute(delete(Mail).where(Mail.done_at < func.now() - KEEP).returning(Mail.id))
        return len(gone.all())


# -- one mail ------------------------------------------------------------------------------------------------


def _claim() -> Mail | None:
    due = select(Mail.id).where(Mail.due_at <= func.now()).order_by(Mail.due_at).limit(1)
    with db.transaction() as session:
        return session.scalars(
            update(Mail)
            .where(Mail.id == due.with_for_update(skip_locked=True).scalar_subquery())
            .values(due_at=func.now() + LEASE, tries=Mail.tries + 1)
            .returning(Mail)
        ).one_or_none()


def _deal_with(due: Mail, public_url: str) -> None:
    if due.tries > len(RETRY_AFTER) + 1:  # whoever had it before died of it, or was killed with it, time and again
        _done(due, "given up")
        return
    try:
        with db.transaction() as session:
            content = _COMPOSERS[due.template](session, due, public_url)
        if content is None:
            _done(due, "nobody")
            return
        mail.send(content.recipient, content.subject, as_text(content), as_html(content))
        _done(due, "sent")
    except TooManyAttempts:
        _done(due, "throttled")
    except mail.Refused as error:
        _log.warning("mail refused", template=due.template, reason=str(error))
        _done(due, "refused")
    except mail.Unsent as error:
        _retry_later(due, str(error))


def _done(due: Mail, outcome: str) -> None:
    with db.transaction() as session:
        values = {"due_at": None, "done_at": func.now(), "outcome": outcome}
        session.execute(update(Mail).where(Mail.id == due.id).values(values))


def _retry_later(due: Mail, reason: str) -> None:
    _log.warning("mail not sent", template=due.template, tries=due.tries, reason=reason)
    if due.tries > len(RETRY_AFTER):
        _done(due, "given up")
        return
    with db.transaction() as session:
        delay = RETRY_AFTER[due.tries - 1]
        session.execute(update(Mail).where(Mail.id == due.id).values(due_at=func.now() + delay))


# -- what they say -------------------------------------------------------------------------------------------


def _password_reset(session: Session, due: Mail, public_url: str) -> MailContent | None:
    user = _somebody(session, due)
    if user is None:
        return None
    _count(session, rate_limits.RESETS_PER_ACCOUNT, user.email_key, due)
    return MailContent(
        user.email,
        "Reset your password",
        (
            f"Hello {user.name}," if user.email_verified else "Hello,",
            "somebody, hopefully you, asked to reset the password of your account. "
            "Send the new one within 30 minutes, as the field `password` of a POST to:",
            "If it was not you, there is nothing to do: your password still holds.",
        ),
        f"{public_url}/api/v1/auth/password-reset/{one_time_links.issue_reset(session, user)}",
    )


def _verify_email(session: Session, due: Mail, public_url: str) -> MailContent | None:
    user = _somebody(session, due)
    if user is None or user.email_verified_at is not None:
        return None
    _count(session, rate_limits.VERIFICATIONS_PER_ACCOUNT, user.email_key, due)
    return MailContent(
        user.email,
        "Confirm your address",
        (
            "Hello,",
            "confirm within 24 hours that this address is yours, with a POST to:",
            "If you did not open an account, there is nothing to do.",
        ),
        f"{public_url}/api/v1/auth/verify-email/{one_time_links.issue_verification(session, user)}",
    )


def _password_changed(session: Session, due: Mail, _public_url: str) -> MailContent:
    rest = "API keys still work."
    if due.data.get("claimed"):
        rest = (
            "As nobody had confirmed this address before, API keys that were there have been revoked and "
            "webhook endpoints disabled: somebody else may have made them."
        )
    sentence = f"the password of your account was changed {due.data['how']}. Every session has ended. {rest}"
    return _notice(session, due, "Your password was changed", sentence)


def _key_created(session: Session, due: Mail, _public_url: str) -> MailContent:
    sentence = f"an API key{_quoted(session, due, 'key')} was created in your account."
    return _notice(session, due, "An API key was created", sentence)


def _key_rotated(session: Session, due: Mail, _public_url: str) -> MailContent:
    sentence = f"an API key{_quoted(session, due, 'key')} of your account has a new secret."
    return _notice(session, due, "An API key was rotated", sentence)


def _endpoint_disabled(session: Session, due: Mail, _public_url: str) -> MailContent:
    sentence = f"a webhook endpoint{_quoted(session, due, 'url')} was disabled: {due.data['reason']}."
    return _notice(session, due, "A webhook endpoint was disabled", sentence, wary=False)


def _quoted(session: Session, due: Mail, what: str) -> str:
    """What the account calls it, to a proved address only: nobody has us send words of his choice to a stranger."""
    key = email_addresses.key(due.recipient)
    proved = session.scalar(select(User.email_verified_at.is_not(None)).where(User.email_key == key))
    return f" “{due.data[what]}”" if proved else ""


def _notice(session: Session, due: Mail, subject: str, sentence: str, *, wary: bool = True) -> MailContent:
    # Each kind by itself: a thief must not hide one behind many of another.
    _count(session, rate_limits.NOTICES_PER_ACCOUNT, f"{due.template} {email_addresses.key(due.recipient)}", due)
    where = f"It happened at {due.created_at:%Y-%m-%d %H:%M} UTC" + (
        f" from {ip}." if (ip := due.data.get("ip")) else "."
    )
    advice = "If it was not you, reset your password now and look at your API keys."
    paragraphs = ("Hello,", sentence, where, *([advice] if wary else []))
    return MailContent(due.recipient, subject, paragraphs)


def _somebody(session: Session, due: Mail) -> User | None:
    """Whose address that is, locked: two senders make links for one account one after the other."""
    key = email_addresses.key(due.recipient)
    return session.scalars(
        select(User).where(User.email_key == key, User.is_active).with_for_update(key_share=True)
    ).one_or_none()


def _count(session: Session, limit: rate_limits.Limit, subject: str, due: Mail) -> None:
    """Each mail that somebody causes counts against the account's mailbox once, however often it has to be tried."""
    if due.tries == 1:
        rate_limits.count(session, rate_limits.per_account(limit, subject))


_COMPOSERS: dict[str, Callable[[Session, Mail, str], MailContent | None]] = {
    "password_reset": _password_reset,
    "verify_email": _verify_email,
    "password_changed": _password_changed,
    "key_created": _key_created,
    "key_rotated": _key_rotated,
    "endpoint_disabled": _endpoint_disabled,
}


def as_text(content: MailContent) -> str:
    """The plain text: the link stands on a line of its own, before the last paragraph."""
    *first, last = content.paragraphs
    return "\n\n".join([*first, *([content.link] if content.link else []), last]) + "\n"


def as_html(content: MailContent) -> str:
    """The same, escaped. Nothing is loaded from anywhere."""
    *first, last = (f"<p>{escape(paragraph)}</p>" for paragraph in content.paragraphs)
    link = [f"<p><code>{escape(content.link)}</code></p>"] if content.link else []
    body = "\n".join([*first, *link, last])
    return f'<!doctype html>\n<html lang="en"><body style="font-family: sans-serif">\n{body}\n</body></html>\n'
