"""What was done for an invocation: the calls of its tool, and the deliveries of its webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from common import webhooks
from common.invocations import reading, showing
from common.invocations.model import Invocation, Shown
from common.kit import db
from common.kit.paging import Page, Window
from common.kit.query import Query
from common.webhooks import DeliveryRecord


class CallRow(NamedTuple):
    """One call that was begun. While it runs, `ended_at` and `outcome` are None."""

    n: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    http_status: int | None
    detail: str | None
    retry_at: datetime | None

    @property
    def error(self) -> dict[str, str] | None:
        """Code and detail; None unless it failed."""
        if self.outcome in (None, "succeeded", "canceled"):
            return None
        return {"code": str(self.outcome), "detail": self.detail or ""}


#: (`lease_expires_at is not null`: the row is running.)
CALLS: Final = Query(
    """
select n, started_at, ended_at, outcome, http_status, detail, retry_at from (
  select n, started_at, ended_at, outcome, http_status, detail, retry_at from attempts where invocation_id = :id
  union all
  select attempts, claimed_at, null, null, null, null, null from queue
   where id = :id and lease_expires_at is not null) x
 where n < :below order by n desc limit :limit
""",
    CallRow,
)
#: More than a `smallint` holds.
_ALL: Final = 2**15


def attempts(owner: UUID, invocation_id: UUID, window: Window) -> Page[CallRow]:
    """The calls of one invocation of `owner`, newest first, with the one that runs now. Raises `NotFound`."""
    reading.get_within(invocation_id, owner, 0)
    below = window.after[0] if window.after else _ALL
    rows = db.execute(CALLS, {"id": invocation_id, "below": below, "limit": window.limit + 1})
    return Page.cut(rows, window, lambda row: (row.n,))


def deliveries(owner: UUID, invocation_id: UUID, window: Window) -> Page[DeliveryRecord]:
    """The webhook deliveries of one invocation of `owner`, to any receiver, newest first. Raises `NotFound`."""
    reading.get_within(invocation_id, owner, 0)
    return webhooks.deliveries_of(invocation_id, window)


@dataclass(frozen=True, slots=True)
class Story:
    """An invocation and what was done for it: the last calls, oldest first, and the last deliveries, newest first.

    `shown`: what of its answer is shown while that is being written.
    """

    invocation: Invocation
    calls: Sequence[CallRow]
    deliveries: Page[DeliveryRecord]
    shown: Shown | None = None


def story(owner: UUID | None, invocation_id: UUID, *, most_bytes: int, window: Window) -> Story:
    """All about one invocation of `owner` (None: of any account, for admins). Raises `NotFound`.

    Input and output are read if they have at most `most_bytes`, together.
    """
    invocation = reading.get_within(invocation_id, owner, most_bytes)
    calls = db.execute(CALLS, {"id": invocation_id, "below": _ALL, "limit": window.limit})
    sent = webhooks.deliveries_of(invocation_id, window)
    return Story(invocation, calls[::-1], sent, showing.shown_so_far(invocation))
