"""Everything that is stored encrypted, put under the newest of `SECRETS_KEYS`: afterwards the older ones can go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from common.kit import crypto, db
from common.models.tools import ToolVersion
from common.models.webhooks import WebhookDefaultSecret, WebhookEndpoint

BATCH = 500


@dataclass(frozen=True, slots=True)
class Place:
    """A column of encrypted values: its row's key, and the owner (with `purpose`) that they are encrypted for."""

    column: InstrumentedAttribute[Any]
    key: InstrumentedAttribute[UUID]
    owner: InstrumentedAttribute[UUID]
    purpose: str

    def __str__(self) -> str:
        return str(self.column)


PLACES = (
    Place(ToolVersion.auth_secret, ToolVersion.id, ToolVersion.tool_id, "tool"),
    Place(WebhookEndpoint.secret, WebhookEndpoint.id, WebhookEndpoint.id, "webhook"),
    Place(WebhookEndpoint.previous_secret, WebhookEndpoint.id, WebhookEndpoint.id, "webhook"),
    Place(WebhookDefaultSecret.secret, WebhookDefaultSecret.user_id, WebhookDefaultSecret.user_id, "webhook"),
    Place(WebhookDefaultSecret.previous_secret, WebhookDefaultSecret.user_id, WebhookDefaultSecret.user_id, "webhook"),
)


@dataclass(frozen=True, slots=True)
class Reencrypted:
    """What became of one encrypted value; not `readable`: none of our keys opens it, and it was left as it is."""

    place: Place
    key: UUID
    readable: bool


def rotate() -> Iterator[Reencrypted]:
    """Seal every stored secret anew, in short transactions; harmless when repeated, and beside a running platform."""
    for place in PLACES:
        after = UUID(int=0)
        while True:
            with db.transaction() as session:
                rows = _locked(session, place, after)
                done = [Reencrypted(place, row.key, _reencrypt(session, place, row)) for row in rows]
            yield from done
            if len(done) < BATCH:
                break
            after = done[-1].key


def _locked(session: Session, place: Place, after: UUID) -> list[Row[Any]]:
    columns = (place.key.label("key"), place.owner.label("owner"), place.column.label("encrypted"))
    query = select(*columns).where(place.column.is_not(None), place.key > after).order_by(place.key).limit(BATCH)
    return list(session.execute(query.with_for_update(key_share=True)))


def _reencrypt(session: Session, place: Place, row: Row[Any]) -> bool:
    try:
        fresh = crypto.reencrypt(place.purpose, str(row.owner), row.encrypted)
    except crypto.Undecryptable:
        return False
    session.execute(update(place.key.class_).where(place.key == row.key).values({place.column: fresh}))
    return True
