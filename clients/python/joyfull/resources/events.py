"""The feed of events, for polling instead of webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from joyfull import models
from joyfull.exchange import Operation, emit, sleep
from joyfull.paging import Page, page
from joyfull.resource import many, request_of
from joyfull.retrying import call
from joyfull.surface import Asynchronous, Surface, Synchronous, listing

if TYPE_CHECKING:
    from joyfull.models.bodies import EventsIndexQuery


LONGEST_WAIT = 30


class EventsSurface(Surface):
    """The feed of events: 30 days, oldest first, each once."""

    @listing
    def list(self, cursor: str | None = None, **filters: Unpack[EventsIndexQuery]) -> Operation[Page[models.Event]]:
        """The events after a cursor, or from the beginning, up to now."""
        request = request_of(self._context, "events_index", query={"cursor": cursor, **filters})
        return many(self._context, models.event_of, request)

    @listing
    def follow(
        self, cursor: str | None = None, poll: float = 1.0, **filters: Unpack[EventsIndexQuery]
    ) -> Operation[Page[models.Event]]:
        """The events after a cursor, and then those that come, for ever and through outages.

        Keep `.cursor` of what is returned: it stands behind the events that were handed out, page by page. `poll` is in
        seconds, for a server that does not hold the request open.
        """
        wait = filters.pop("wait", LONGEST_WAIT)
        while True:
            query = {"limit": 100, **filters, "cursor": cursor, "wait": wait}
            request = request_of(self._context, "events_index", query=query, wait=wait)
            began = self._context.now()
            response = yield from call(self._context, request, until=float("inf"), patient=True)
            found = page(response, models.event_of)
            cursor = found.next_cursor or cursor
            yield from emit(found)
            if not found.items and not found.has_more and self._context.now() - began < min(poll, wait):
                yield from sleep(poll)


class Events(EventsSurface, Synchronous):
    """The feed of events, of a `Client`."""


class AsyncEvents(EventsSurface, Asynchronous):
    """The feed of events, of an `AsyncClient`."""
