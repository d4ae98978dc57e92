"""What an account's API keys have used lately: one statement, rolled up and live tail, as in `charges`."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from common.kit import db
from common.kit.query import Query
from common.models.usage import NO_KEY


class KeyTokens(NamedTuple):
    """The tokens of what an API key has run."""

    api_key_id: UUID
    tokens: int


_TOKENS: Final = Query(
    """
with mark as materialized (select usage_mark() as xid),
parts as (
  select api_key_id, tokens_used from usage_rollups
   where user_id = :user and grain = 'day' and starts_at >= :since and (select xid from mark) is not null
  union all
  select api_key_id, tokens_used from usage_logs
   where user_id = :user and xid > coalesce((select xid from mark), cast('0' as xid8))
     and (created_at >= :since) is true)
select api_key_id, cast(sum(tokens_used) as bigint) as tokens
  from parts where api_key_id <> :no_key group by 1
""",
    KeyTokens,
)


def tokens_by_key(user_id: UUID, since: datetime) -> dict[UUID, int]:
    """The tokens of what ended from `since` on, the beginning of a UTC day, by the key that it was run with."""
    rows = db.fetch_anywhere(_TOKENS, {"user": user_id, "since": since, "no_key": NO_KEY})
    return {row.api_key_id: row.tokens for row in rows}
