"""The feed of an account's events, with the invocations that they are about as they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from common import webhooks
from common.invocations.reading import events_data
from common.kit.paging import Page, Window


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """An event as it is sent to endpoints. `id`: the `webhook-id`; `data`: None once its invocation is gone."""

    id: UUID
    type: str
    timestamp: datetime
    data: Mapping[str, object] | None


def feed(
    user_id: UUID,
    window: Window,
    *,
    payloads: bool = True,
    since: datetime | None = None,
    types: Sequence[str] = (),
) -> Page[FeedEvent]:
    """The account's events of the last 30 days, oldest first, each once; without `payloads`, no input and output.

    `since` (inclusive) and `types` leave others out.
    """
    page = webhooks.feed(user_id, window, payloads=payloads, since=since, types=types)
    about = [
        (event.id, (event.type, event.invocation_id, event.attempts))
        for event in page.items
        if event.data is None and event.invocation_id is not None
    ]
    found = events_data([of for _, of in about], payloads=payloads)
    data = dict(zip((event_id for event_id, _ in about), found, strict=True))
    return page.map(
        lambda event: FeedEvent(event.id, event.type, event.created_at, data.get(event.id, event.data)),
    )
