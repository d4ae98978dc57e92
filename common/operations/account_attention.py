"""What needs the attention of an account's owner soon: failing endpoints, expiring keys. One statement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from common.kit import db
from common.kit.query import Query

#: How long before its end a key is named.
NOTICE: Final = timedelta(days=14)
#: The most of each.
MOST: Final = 10


class Concern(NamedTuple):
    """`name`: the URL of an endpoint, or the name of a key.

    `what`: `failing` (`at`: since when), `gone` or `disabled` (by the platform, as it kept failing) of an endpoint;
    `expires` (`at`: when) of a key; delegated ones are made to expire soon, and are left out.
    """

    id: UUID
    name: str
    what: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Attention:
    """What needs the owner, the most urgent first; endpoints that were disabled by hand are left out."""

    endpoints: list[Concern]
    keys: list[Concern]


_CONCERNS: Final = Query(
    """
(select id, url as name, case disabled_reason when 'gone' then 'gone' when 'failing' then 'disabled' else 'failing' end
        as what, case when status = 'disabled' then updated_at else failing_since end as at
   from webhook_endpoints
  where user_id = :user and disabled_reason is distinct from 'manual'
    and (status = 'disabled' or failing_since is not null)
  order by 4 limit :most)
union all
(select id, name, 'expires', expires_at from api_keys
  where user_id = :user and revoked_at is null and not is_delegated
    and expires_at > now() and expires_at < now() + :notice
  order by 4 limit :most)
""",
    Concern,
)


def attention(user_id: UUID) -> Attention:
    """What of the account needs its owner."""
    found = db.execute(_CONCERNS, {"user": user_id, "notice": NOTICE, "most": MOST})
    keys = [each for each in found if each.what == "expires"]
    return Attention([each for each in found if each.what != "expires"], keys)
