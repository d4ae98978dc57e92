"""For whoever has the mailbox and not (or not yet) the rest: a new password, a verified address."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import func, update

from common import addresses, audit, links, mails, passwords, standing, throttles
from common.accounts.profile import replace_password, updated
from common.errors import InvalidLink
from common.kit import db
from common.models.accounts import User


def request_reset(email: str, *, ip: str) -> None:
    """Owe that address a reset link, if anybody has it: nobody looks before the answer, so all answers are alike."""
    _owe("password_reset", email, throttles.RESETS_PER_IP, ip)


def reset_password(token: str, password: str, *, actor: audit.Actor) -> None:
    """Set a new password by a mailed link. Every session ends; whoever guessed at the account is forgotten.

    Raises:
        InvalidLink: wrong, used, expired, or the password was changed since.
        WeakPassword: the link stays good for another try.
    """
    with db.transaction() as session:
        user = links.read_reset(session, token)
    passwords.check(password, user.email_key)
    password_hash = passwords.make(password)
    actor = replace(actor, id=user.id)
    with standing.changing(user.id), db.transaction() as session:
        links.use_reset(session, token)
        if not replace_password(session, user, password_hash, actor=actor, how="by a reset link"):
            raise InvalidLink
        updated(session, user.id, email_verified_at=func.coalesce(User.email_verified_at, func.now()))
        throttles.forget_logins(session, user.id, user.email_key)
        throttles.remember_place(session, user.id, throttles.place(actor.ip or ""))
    mails.ring()


def request_verification(email: str, *, ip: str) -> None:
    """Owe that address another verification link, if it waits for one."""
    _owe("verify_email", email, throttles.VERIFICATIONS_PER_IP, ip)


def verify_email(token: str) -> None:
    """Accept that the address is the account's own. Raises `InvalidLink`."""
    with db.transaction() as session:
        user_id = links.verification_owner(session, token)
    with standing.changing(user_id), db.transaction() as session:
        email_key = links.use_verification(session, token)
        proved = update(User).where(User.id == user_id, User.email_key == email_key)
        session.execute(proved.values(email_verified_at=func.coalesce(User.email_verified_at, func.now())))


def _owe(template: str, email: str, limit: throttles.Limit, ip: str) -> None:
    address = addresses.parse(email)
    with db.transaction() as session:
        throttles.count(session, throttles.per_ip(limit, ip))
        mails.record(session, template, address.text, ip=ip)
    mails.ring()
