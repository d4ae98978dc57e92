"""The transactional outbox: `record` an event in your transaction. `common/webhooks/pulling.py` reads them in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from common.kit import clock

_RECORD: Final = text("""
with e as (
  insert into events (id, user_id, type, data) values (:id, :user_id, :type, cast(:data as jsonb))
  returning id, user_id, type)
insert into deliveries (id, event_id, user_id, endpoint_id)
select uuid7(), e.id, e.user_id, w.id
  from e join webhook_endpoints w on w.user_id = e.user_id and w.status = 'enabled' and w.events && array[e.type]
""")


def record(session: Session, user_id: UUID, kind: str, data: Mapping[str, object]) -> UUID:
    """Insert an event, and a delivery for each endpoint subscribed to it, in your transaction. Returns its id.

    After the commit, call `messages.notify(messages.DELIVER)`. Events of invocations are inserted by the statements
    that change the invocation.
    """
    event_id = clock.uuid7()
    values = {"id": event_id, "user_id": user_id, "type": kind, "data": orjson.dumps(data).decode()}
    session.execute(_RECORD, values)
    return event_id
