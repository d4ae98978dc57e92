"""What access to the mailbox allows: resetting the password and verifying the address."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from common.errors import InvalidLink
from common.identity import audit, authorization_cache, email_addresses, one_time_links, passwords, rate_limits
from common.identity.accounts.profile import replace_password, updated
from common.kit import db
from common.models.accounts import ApiKey, KnownPlace, User
from common.models.webhooks import WebhookDefaultSecret, WebhookEndpoint
from common.notifications import mails


def request_reset(email: str, *, ip: str) -> None:
    """Queue a reset mail. Whether an account has the address is checked later, so every answer is the same.

    Raises `Invalid`, `TooManyAttempts`.
    """
    _queue("password_reset", email, rate_limits.RESETS_PER_IP, ip)


def reset_password(token: str, password: str, *, actor: audit.Actor) -> None:
    """Set a new password with a mailed link. Ends every session and resets the login counters.

    If the address was not verified before, a stranger may have opened the account in its owner's name. API keys,
    webhook endpoints and known networks, which outlive a password, are then revoked as well.

    Raises:
        InvalidLink: wrong, used or expired, or the password was changed since.
        WeakPassword: the link can be used for another attempt.
    """
    with db.transaction() as session:
        user = one_time_links.read_reset(session, token)
    passwords.check(password, user.email_key)
    password_hash = passwords.make(password)
    actor = replace(actor, id=user.id)
    with authorization_cache.changing(user.id) as session:
        one_time_links.use_reset(session, token)
        claimed = not _verified(session, user.id)
        if not replace_password(session, user, password_hash, actor=actor, how="by a reset link", claimed=claimed):
            raise InvalidLink
        updated(session, user.id, email_verified_at=func.coalesce(User.email_verified_at, func.now()))
        rate_limits.forget_logins(session, user.id, user.email_key)
        if claimed:
            _revoke_access(session, user.id, actor)
        rate_limits.remember_network(session, user.id, rate_limits.client_network(actor.ip or ""))
    mails.notify()


def request_verification(email: str, *, ip: str) -> None:
    """Queue another verification mail, if the address is not verified yet. Raises `Invalid`, `TooManyAttempts`."""
    _queue("verify_email", email, rate_limits.VERIFICATIONS_PER_IP, ip)


def verify_email(token: str) -> None:
    """Mark the address as verified. Raises `InvalidLink`."""
    with db.transaction() as session:
        user_id = one_time_links.verification_owner(session, token)
    with authorization_cache.changing(user_id) as session:
        email_key = one_time_links.use_verification(session, token)
        verified = update(User).where(User.id == user_id, User.email_key == email_key)
        session.execute(verified.values(email_verified_at=func.coalesce(User.email_verified_at, func.now())))


def _verified(session: Session, user_id: UUID) -> bool:
    """Whether the account's address is verified; locks that answer until the transaction ends."""
    query = select(User.email_verified_at.is_not(None)).where(User.id == user_id)
    return bool(session.scalar(query.with_for_update(key_share=True)))


def _revoke_access(session: Session, user_id: UUID, actor: audit.Actor) -> None:
    """Revoke keys, endpoints and known networks that the mailbox's owner may not have created."""
    keys = update(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    endpoints = update(WebhookEndpoint).where(WebhookEndpoint.user_id == user_id, WebhookEndpoint.status == "enabled")
    revoked = session.execute(keys.values(revoked_at=func.now()).returning(ApiKey.id)).all()
    disabled = session.execute(
        endpoints.values(status="disabled", disabled_reason="manual", updated_at=func.now()).returning(
            WebhookEndpoint.id
        )
    ).all()
    # A new default secret is created when it is needed.
    session.execute(delete(WebhookDefaultSecret).where(WebhookDefaultSecret.user_id == user_id))
    session.execute(delete(KnownPlace).where(KnownPlace.user_id == user_id))
    what = {"api_keys_revoked": len(revoked), "webhooks_disabled": len(disabled)}
    audit.record(session, actor, "user.claim", "user", user_id, after=what)


def _queue(template: str, email: str, limit: rate_limits.AttemptLimit, ip: str) -> None:
    address = email_addresses.parse(email)
    with db.transaction() as session:
        rate_limits.count(session, rate_limits.per_ip(limit, ip))
        mails.record(session, template, address.text, ip=ip)
    mails.notify()
