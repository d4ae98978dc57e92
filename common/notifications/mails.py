"""Outgoing mail: recorded in the transaction that causes it, sent by the sweep.

A row holds the template and the address. The link in a mail is created when it is sent and is stored only as a hash.
Requesting a password reset therefore takes the same time whether or not an account has the address: the account is
looked up when the mail is sent, not before the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from common.errors import TooManyAttempts
from common.identity import email_addresses, one_time_links, rate_limits
from common.kit import apart, clock, db, log, mail
from common.models.accounts import Mail, User
from common.notifications.rendering import MailContent, render
from common.queueing import messages
from common.settings import links

#: Delay after the n-th failed try; after the last one the mail is given up.
RETRY_AFTER = tuple(timedelta(seconds=s) for s in (10, 60, 300, 1800, 7200))
#: How long a claimed mail belongs to its sender; longer than an SMTP exchange can take.
LEASE = timedelta(seconds=120)
KEEP = timedelta(days=30)
#: Not kept at all: to addresses that were to be forgotten.
FORGOTTEN = frozenset(["account_deleted"])

_log = log.get(__name__)


def record(session: Session, template: str, recipient: str, **data: object) -> None:
    """Queue a mail in your transaction; call `notify` after the commit. `data` must not hold secrets."""
    if template not in _TEMPLATES:
        raise ValueError(f"no such mail template: {template}")
    session.execute(insert(Mail).values(id=clock.uuid7(), template=template, recipient=recipient, data=data))


def notify() -> None:
    """Notify a worker that mail is due. Best effort: the sweep sends it anyway."""
    messages.notify(messages.SEND_MAILS)


def send_due(public_url: str, *, limit: int = 50, seconds: float = 30.0) -> int:
    """Send due mails, oldest first, at most `limit` or for about `seconds`. Returns the number processed."""
    return apart.total("send-mails", _claimed(limit, seconds), partial(_process, public_url), lambda due: due.id)


def _claimed(limit: int, seconds: float) -> Iterator[Mail]:
    deadline = clock.monotonic() + seconds
    for _ in range(limit):
        due = _claim() if clock.monotonic() < deadline else None
        if due is None:
            return
        yield due


def purge() -> int:
    """Delete mails that were sent or given up more than `KEEP` ago. Returns the number deleted."""
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


def _process(public_url: str, due: Mail) -> int:
    """Whatever else goes wrong with it, its lease ends; after as many tries as any other it is given up."""
    if due.tries > len(RETRY_AFTER) + 1:  # every sender before crashed, was killed, or met an error
        _done(due, "given up")
    else:
        _try(due, public_url)
    return 1


def _try(due: Mail, public_url: str) -> None:
    try:
        with db.transaction() as session:
            content = _TEMPLATES[due.template](session, due, public_url)
        if content is None:
            _done(due, "nobody")
            return
        mail.send(content.recipient, content.subject, content.text, content.html)
        _done(due, "sent")
    except TooManyAttempts:
        _done(due, "throttled")
    except mail.MailRejected as error:
        _log.warning("mail refused", template=due.template, reason=str(error))
        _done(due, "refused")
    except mail.MailNotSent as error:
        _retry_later(due, str(error))


def _done(due: Mail, outcome: str) -> None:
    with db.transaction() as session:
        if due.template in FORGOTTEN:
            session.execute(delete(Mail).where(Mail.id == due.id))
            return
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


# -- what is in them --------------------------------------------------------------------------------------------


def _password_reset(session: Session, due: Mail, public_url: str) -> MailContent | None:
    user = _recipient(session, due)
    if user is None:
        return None
    _count(session, rate_limits.RESETS_PER_ACCOUNT, user.email_key, due)
    token = one_time_links.issue_reset(session, user)
    page, link = public_url + links.password_reset_page(token), public_url + links.password_reset(token)
    return render(due.template, user.email, name=user.name if user.email_verified else None, page=page, link=link)


def _verify_email(session: Session, due: Mail, public_url: str) -> MailContent | None:
    user = _recipient(session, due)
    if user is None or user.email_verified_at is not None:
        return None
    _count(session, rate_limits.VERIFICATIONS_PER_ACCOUNT, user.email_key, due)
    token = one_time_links.issue_verification(session, user)
    page, link = public_url + links.email_verification_page(token), public_url + links.email_verification(token)
    return render(due.template, user.email, page=page, link=link)


def _notice(session: Session, due: Mail, _public_url: str) -> MailContent:
    # Limited per template, so that an attacker cannot suppress one notice by causing many of another.
    key = email_addresses.key(due.recipient)
    _count(session, rate_limits.NOTICES_PER_ACCOUNT, f"{due.template} {key}", due)
    # Templates show what users worded to verified addresses only: nobody can use us to send it to a stranger.
    verified = session.scalar(select(User.email_verified_at.is_not(None)).where(User.email_key == key))
    data = {"ip": None, "claimed": False, **due.data, "verified": verified}
    return render(due.template, due.recipient, at=f"{due.created_at:%Y-%m-%d %H:%M} UTC", **data)


def _recipient(session: Session, due: Mail) -> User | None:
    """The active account with the mail's address, locked to serialise the creation of links."""
    key = email_addresses.key(due.recipient)
    return session.scalars(
        select(User).where(User.email_key == key, User.is_active).with_for_update(key_share=True)
    ).one_or_none()


def _count(session: Session, limit: rate_limits.AttemptLimit, subject: str, due: Mail) -> None:
    """Count the mail against the limit of its mailbox, once, however often it is retried."""
    if due.tries == 1:
        rate_limits.count(session, rate_limits.per_account(limit, subject))


_TEMPLATES: dict[str, Callable[[Session, Mail, str], MailContent | None]] = {
    "password_reset": _password_reset,
    "verify_email": _verify_email,
    "password_changed": _notice,
    "key_created": _notice,
    "key_rotated": _notice,
    "endpoint_disabled": _notice,
    "account_deleted": _notice,
}
