"""Key rotation: re-encrypt every stored secret with the newest of `SECRETS_KEYS`, so that older keys can be removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from common.kit import crypto, db
from common.models.signatures import SigningKey
from common.models.tools import ToolVersion
from common.models.webhooks import WebhookDefaultSecret, WebhookEndpoint

BATCH = 500


@dataclass(frozen=True, slots=True)
class EncryptedColumn:
    """A column of encrypted values, its row's primary key, and the owner and purpose they are encrypted for."""

    column: InstrumentedAttribute[str] | InstrumentedAttribute[str | None]
    key: InstrumentedAttribute[UUID]
    owner: InstrumentedAttribute[UUID]
    purpose: str

    def __str__(self) -> str:
        return str(self.column)


_OWNER = WebhookDefaultSecret.user_id
ENCRYPTED_COLUMNS = (
    EncryptedColumn(ToolVersion.auth_secret, ToolVersion.id, ToolVersion.tool_id, "tool"),
    EncryptedColumn(WebhookEndpoint.secret, WebhookEndpoint.id, WebhookEndpoint.id, "webhook"),
    EncryptedColumn(WebhookEndpoint.previous_secret, WebhookEndpoint.id, WebhookEndpoint.id, "webhook"),
    EncryptedColumn(WebhookEndpoint.encrypted_headers, WebhookEndpoint.id, WebhookEndpoint.id, "webhook-headers"),
    EncryptedColumn(WebhookDefaultSecret.secret, _OWNER, _OWNER, "webhook"),
    EncryptedColumn(WebhookDefaultSecret.previous_secret, _OWNER, _OWNER, "webhook"),
    EncryptedColumn(SigningKey.private_key, SigningKey.id, SigningKey.id, "signing"),
)


class EncryptedRow(NamedTuple):
    """An encrypted value, its row's primary key, and its owner."""

    key: UUID
    owner: UUID
    encrypted: str


@dataclass(frozen=True, slots=True)
class Reencrypted:
    """The result for one value. If not `readable`, none of our keys decrypts it, and it was left unchanged."""

    column: EncryptedColumn
    key: UUID
    readable: bool


def rotate() -> Iterator[Reencrypted]:
    """Re-encrypt every stored secret in short transactions; idempotent, and safe on a running platform."""
    for column in ENCRYPTED_COLUMNS:
        after = UUID(int=0)
        while True:
            with db.transaction() as session:
                rows = _locked(session, column, after)
                done = [Reencrypted(column, row.key, _reencrypt(session, column, row)) for row in rows]
            yield from done
            if len(done) < BATCH:
                break
            after = done[-1].key


def _locked(session: Session, of: EncryptedColumn, after: UUID) -> list[EncryptedRow]:
    query = select(of.key, of.owner, of.column).where(of.column.is_not(None), of.key > after)
    rows = session.execute(query.order_by(of.key).limit(BATCH).with_for_update(key_share=True))
    return [EncryptedRow(key, owner, encrypted or "") for key, owner, encrypted in rows]


def _reencrypt(session: Session, of: EncryptedColumn, row: EncryptedRow) -> bool:
    try:
        fresh = crypto.reencrypt(of.purpose, str(row.owner), row.encrypted)
    except crypto.Undecryptable:
        return False
    session.execute(update(of.key.class_).where(of.key == row.key).values({of.column: fresh}))
    return True
