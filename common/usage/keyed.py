"""Which usage is an API key's: its own, and if it was made by hand, that of the keys which come from it."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from common.models.accounts import ApiKey
from common.models.usage import UsageLog

#: As in the index of usage by API key.
_line: ColumnElement[UUID] = func.coalesce(UsageLog.api_key_root_id, UsageLog.api_key_id)


def root(session: Session, key_id: UUID) -> UUID | None:
    """The key that a key comes from in the end, itself if it was made by hand; None: it is not known any more."""
    return session.scalar(select(func.coalesce(ApiKey.root_id, ApiKey.id)).where(ApiKey.id == key_id))


def conditions(session: Session, key_id: UUID) -> list[ColumnElement[bool]]:
    """What rows of `usage_logs` have to satisfy to be this key's."""
    origin = root(session, key_id)
    if origin == key_id:
        return [UsageLog.api_key_id.is_not(None), _line == key_id]
    if origin is None:  # rows of delegated keys are removed some time after their end
        return [UsageLog.api_key_id == key_id]
    return [UsageLog.api_key_id == key_id, _line == origin]
