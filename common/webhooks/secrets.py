"""Signing secrets: made, encrypted, rotated with an overlap; and the account's default secret for per-call URLs."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from common.identity import idempotency
from common.identity.idempotency import Once
from common.kit import crypto, db
from common.models.webhooks import WebhookDefaultSecret, WebhookEndpoint
from common.webhooks import signing
from common.webhooks.model import Encrypted

#: How long the previous secret keeps signing after a rotation.
OVERLAP: Final = timedelta(hours=24)


def encrypt(owner: UUID, secret: str) -> str:
    """Encrypt a signing secret for its endpoint or account."""
    return crypto.encrypt("webhook", str(owner), secret)


def rotated(model: type[WebhookEndpoint] | type[WebhookDefaultSecret], owner: UUID, secret: str) -> dict[str, object]:
    """The columns after a rotation."""
    return {
        "secret": encrypt(owner, secret),
        "previous_secret": model.secret,
        "previous_until": func.now() + OVERLAP,
        "updated_at": func.now(),
    }


def default_secret(user_id: UUID) -> Encrypted:
    """The secret that signs webhooks to per-call URLs; created on first use."""
    with db.transaction() as session:
        return _default_secret(session, user_id)


def _default_secret(session: Session, user_id: UUID) -> Encrypted:
    made = insert(WebhookDefaultSecret).values(user_id=user_id, secret=encrypt(user_id, signing.new_secret()))
    session.execute(made.on_conflict_do_nothing())
    query = select(WebhookDefaultSecret.secret).where(WebhookDefaultSecret.user_id == user_id)
    return Encrypted(user_id, session.scalars(query).one())


def rotate_default_secret(user_id: UUID, *, once: Once = None) -> str:
    """Replace the default secret and return it; both secrets sign for 24 hours. Raises `IdempotencyKeyReused`."""
    secret = signing.new_secret()
    with db.transaction() as session:
        if made := idempotency.claim(session, once, user_id):
            return made.secret()
        idempotency.remember(session, once, secret=secret)
        _default_secret(session, user_id)
        changes = rotated(WebhookDefaultSecret, user_id, secret)
        session.execute(update(WebhookDefaultSecret).where(WebhookDefaultSecret.user_id == user_id).values(**changes))
    return secret
