"""For whoever has the mailbox and not (or not yet) the rest: a new password, a verified address."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from common.errors import InvalidLink
from common.identity import audit, authorization, email_addresses, one_time_links, passwords, rate_limits
from common.identity.accounts.profile import replace_password, updated
from common.kit import db
from common.models.accounts import ApiKey, KnownPlace, User
from common.models.webhooks import WebhookDefaultSecret, WebhookEndpoint
from common.notifications import mails


def request_reset(email: str, *, ip: str) -> None:
    """Owe that address a reset link, if anybody has it: nobody looks before the answer, so all answers are alike."""
    _owe("password_reset", email, rate_limits.RESETS_PER_IP, ip)


def reset_password(token: str, password: str, *, actor: audit.Actor) -> None:
    """Set a new password by a mailed link. Every session ends; whoever guessed at the account is forgotten.

    If the address was never proved before, somebody else may have opened the account in its owner's name and waited for
    him: what outlives a password (API keys, webhook endpoints, known networks) ends as well.

    Raises:
        InvalidLink: wrong, used, expired, or the password was changed since.
        WeakPassword: the link stays good for another try.
    """
    with db.transaction() as session:
        user = one_time_links.read_reset(session, token)
    passwords.check(password, user.email_key)
    password_hash = passwords.make(password)
    actor = replace(actor, id=user.id)
    with authorization.changing(user.id), db.transaction() as session:
        one_time_links.use_reset(session, token)
        claimed = not _proved(session, user.id)
        if not replace_password(session, user, password_hash, actor=actor, how="by a reset link", claimed=claimed):
            raise InvalidLink
        updated(session, user.id, email_verified_at=func.coalesce(User.email_verified_at, func.now()))
        rate_limits.forget_logins(session, user.id, user.email_key)
        if claimed:
            _clear(session, user.id, actor)
        rate_limits.remember_place(session, user.id, rate_limits.place(actor.ip or ""))
    mails.notify()


def request_verification(email: str, *, ip: str) -> None:
    """Owe that address another verification link, if it waits for one."""
    _owe("verify_email", email, rate_limits.VERIFICATIONS_PER_IP, ip)


def verify_email(token: str) -> None:
    """Accept that the address is the account's own. Raises `InvalidLink`."""
    with db.transaction() as session:
        user_id = one_time_links.verification_owner(session, token)
    with authorization.changing(user_id), db.transaction() as session:
        email_key = one_time_links.use_verification(session, token)
        proved = update(User).where(User.id == user_id, User.email_key == email_key)
        session.execute(proved.values(email_verified_at=func.coalesce(User.email_verified_at, func.now())))


def _proved(session: Session, user_id: UUID) -> bool:
    """Whether anybody has proved the account's address; holds until the transaction ends."""
    query = select(User.email_verified_at.is_not(None)).where(User.id == user_id)
    return bool(session.scalar(query.with_for_update(key_share=True)))


def _clear(session: Session, user_id: UUID, actor: audit.Actor) -> None:
    """End what the account's present holder may not have made: as if it were new."""
    keys = update(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    endpoints = update(WebhookEndpoint).where(WebhookEndpoint.user_id == user_id, WebhookEndpoint.status == "enabled")
    revoked = session.execute(keys.values(revoked_at=func.now()).returning(ApiKey.id)).all()
    disabled = session.execute(
        endpoints.values(status="disabled", disabled_reason="manual", updated_at=func.now()).returning(
            WebhookEndpoint.id
        )
    ).all()
    session.execute(
        delete(WebhookDefaultSecret).where(WebhookDefaultSecret.user_id == user_id)
    )  # made anew when needed
    session.execute(delete(KnownPlace).where(KnownPlace.user_id == user_id))
    what = {"api_keys_revoked": len(revoked), "webhooks_disabled": len(disabled)}
    audit.record(session, actor, "user.claim", "user", user_id, after=what)


def _owe(template: str, email: str, limit: rate_limits.Limit, ip: str) -> None:
    address = email_addresses.parse(email)
    with db.transaction() as session:
        rate_limits.count(session, rate_limits.per_ip(limit, ip))
        mails.record(session, template, address.text, ip=ip)
    mails.notify()
