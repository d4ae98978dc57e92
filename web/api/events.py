"""`/events`: the events of webhooks, for clients that prefer polling."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import NotRequired

from common import invocations
from common.invocations import FeedEvent
from common.kit.paging import Page
from common.models.webhooks import EVENT_TYPES
from web.api.blueprint import Blueprint
from web.http import auth, feed_waiting
from web.http.fields import Flag, Id, Instant, JsonObject, OneOrMore, Whole, Word
from web.http.pagination import ListArguments, ListQuery
from web.http.schemas import Resource
from web.http.waiting import MAX_WAIT

blp = Blueprint("events", __name__, url_prefix="/events", description="The events of webhooks, for polling")


class EventSchema(Resource):
    id = Id(required=True, metadata={"description": "The `webhook-id` under which it is sent to endpoints."})
    type = Word(*EVENT_TYPES, required=True)
    timestamp = Instant(required=True)
    data = JsonObject(required=True, allow_none=True)


class EventQuery(ListQuery):
    since = Instant(data_key="from", metadata={"description": "Inclusive, on `timestamp`."})
    type = OneOrMore(Word(*EVENT_TYPES), max=len(EVENT_TYPES), metadata={"description": "Only events of these types."})
    wait = Whole(1, MAX_WAIT, metadata={"description": "Long-poll: seconds to wait while there are none."})
    payloads = Flag(load_default=True, metadata={"description": "`false` omits `input` and `output`."})


class EventArguments(ListArguments):
    """What `EventQuery` loads."""

    payloads: bool
    since: NotRequired[datetime]
    type: NotRequired[list[str]]
    wait: NotRequired[int]


@blp.get("")
@auth.needs("webhooks:manage")
@blp.arguments(EventQuery, location="query")
@blp.page(EventSchema)
def index(query: EventArguments) -> Page[FeedEvent]:
    """The account's events of the last 30 days, oldest first

    Store `next_cursor`, which the last page has too, also of an empty feed, and continue from there: each event is
    returned exactly once. A page ends early, with `has_more`, when its `input` and `output` reach 1 MiB in total;
    `payloads=false` omits both fields. With `from` or `type` it also ends when it has looked through 2,000 events, and
    may be empty then. `wait` long-polls until there is an event.
    """
    of = partial(invocations.feed, auth.caller().user_id, payloads=query["payloads"])
    read = partial(of, since=query.get("since"), types=query.get("type", ()))
    return feed_waiting.first_page(read, query["window"], query.get("wait", 0))
