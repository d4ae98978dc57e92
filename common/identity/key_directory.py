"""An account's API keys for those who look at one: the key by its id, and until when rotated secrets still work."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import select

from common.errors import NotFound
from common.kit import db
from common.kit.query import Query
from common.models.accounts import ApiKey


class Overlap(NamedTuple):
    """A key of which rotated secrets still work, and when the last of them ends."""

    key_id: UUID
    until: datetime


_OVERLAPS: Final = Query(
    """
select k.id as key_id, max(s.expires_at) as until
  from api_keys k join api_key_secrets s on s.api_key_id = k.id
 where k.user_id = :user_id and k.revoked_at is null and s.expires_at > now()
 group by k.id
""",
    Overlap,
)


def one(user_id: UUID, key_id: UUID) -> ApiKey:
    """A key of the account that is not revoked. Raises `NotFound`."""
    query = select(ApiKey).where(ApiKey.id == key_id, ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    with db.read_only() as session:
        key = session.scalars(query).one_or_none()
    if key is None:
        raise NotFound("API key not found.")
    return key


def overlaps(user_id: UUID) -> dict[UUID, datetime]:
    """Until when the rotated secrets of each key work, where some still do."""
    return {row.key_id: row.until for row in db.execute(_OVERLAPS, {"user_id": user_id})}
