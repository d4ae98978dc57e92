"""`/events`: what webhooks tell, for those who would rather ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common import invocations, webhooks
from common.kit.paging import Page
from common.models.webhooks import EVENT_TYPES
from web import auth
from web.blueprint import Blueprint
from web.pagination import ListQuery
from web.schemas import Id, Instant, JsonObject, Resource, Word

blp = Blueprint("events", __name__, url_prefix="/events", description="The same events, pulled by cursor")


class Event(Resource):
    id = Id(required=True, metadata={"description": "The `webhook-id` under which webhooks tell it."})
    type = Word(*EVENT_TYPES, required=True)
    timestamp = Instant(required=True)
    data = JsonObject(required=True)


@blp.get("")
@auth.needs("webhooks:manage")
@blp.arguments(ListQuery, location="query")
@blp.page(Event)
def index(query: dict[str, Any]) -> Page[Any]:
    """The account's events of 30 days, oldest first

    Keep `next_cursor`, also of the last page, and ask again from there: each event comes exactly once.
    """
    return webhooks.feed(auth.caller().user_id, **query).map(_shown)


def _shown(event: webhooks.Event) -> dict[str, Any]:
    return {"id": event.id, "type": event.type, "timestamp": event.created_at, "data": _data(event)}


def _data(event: webhooks.Event) -> Mapping[str, Any] | None:
    if event.invocation_id is None or event.data is not None:
        return event.data
    return invocations.event_data(event.type, event.invocation_id, event.attempts)
