"""`/events`: the events of webhooks, for clients that prefer polling."""

from __future__ import annotations

from common import invocations
from common.invocations import FeedEvent
from common.kit.paging import Page
from common.models.webhooks import EVENT_TYPES
from web.api.blueprint import Blueprint
from web.http import auth
from web.http.fields import Flag, Id, Instant, JsonObject, Word
from web.http.pagination import ListArguments, ListQuery
from web.http.schemas import Resource

blp = Blueprint("events", __name__, url_prefix="/events", description="The events of webhooks, for polling")


class EventSchema(Resource):
    id = Id(required=True, metadata={"description": "The `webhook-id` under which it is sent to endpoints."})
    type = Word(*EVENT_TYPES, required=True)
    timestamp = Instant(required=True)
    data = JsonObject(required=True)


class EventQuery(ListQuery):
    payloads = Flag(load_default=True, metadata={"description": "`false` omits `input` and `output`."})


class EventArguments(ListArguments):
    """What `EventQuery` loads."""

    payloads: bool


@blp.get("")
@auth.needs("webhooks:manage")
@blp.arguments(EventQuery, location="query")
@blp.page(EventSchema)
def index(query: EventArguments) -> Page[FeedEvent]:
    """The account's events of the last 30 days, oldest first

    Store `next_cursor`, which the last page has too, and continue from there: each event is returned exactly once. A
    page ends early, with `has_more`, when its `input` and `output` reach 1 MiB in total; it has at least one event.
    `payloads=false` omits both fields.
    """
    return invocations.feed(auth.caller().user_id, **query)
