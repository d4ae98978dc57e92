"""Long-polls of the event feed: any number of them cost one statement in each interval, while they are idle.

A waiter has a place: an account and a position in its feed. One thread (a greenlet under gevent) asks for all waiters
of the process together whose feed goes on after it, and wakes those; they read their feed themselves. Rows alone
decide: an event that is there before the waiter is, or whose transaction ends late, is found by the next look.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar
from uuid import UUID

from common import webhooks
from common.kit import apart, clock, db, log
from common.kit.paging import Page, Position, Window
from web.http import auth, large_reads
from web.http.waiting_limits import most, places

T = TypeVar("T")
logger = log.get(__name__)

#: How often the feeds of all waiters are looked at, in seconds.
LOOK_SECONDS: Final = 0.5


class FeedWaiter:
    """A client that waits for the feed of its account to go on after `position`."""

    def __init__(self, user_id: UUID, position: Position) -> None:
        self.user_id = user_id
        self.position = position
        self.changed = threading.Event()


class FeedWaiters:
    """All waiters of this process. The first one starts its thread."""

    def __init__(self) -> None:
        self._waiters: set[FeedWaiter] = set()
        self._lock = threading.Lock()
        self._started = False

    def add(self, user_id: UUID, position: Position) -> FeedWaiter:
        """Register a client. Raises `RateLimited` for more of an account than may wait."""
        places.take(user_id, most(user_id))
        waiter = FeedWaiter(user_id, position)
        with self._lock:
            self._waiters.add(waiter)
            started, self._started = self._started, True
        if not started:
            threading.Thread(target=self._look_on, name="feed-waiting", daemon=True).start()
        return waiter

    def remove(self, waiter: FeedWaiter) -> None:
        """It waits no longer."""
        with self._lock:
            self._waiters.remove(waiter)
        places.give_back(waiter.user_id)

    def __len__(self) -> int:
        return len(self._waiters)

    def _look_on(self) -> None:
        while True:
            clock.sleep(LOOK_SECONDS)
            with apart.logged(logger, "polling the event feed failed"):
                try:
                    self.look()
                except db.Unreachable as error:
                    logger.warning("event feed not polled: database unreachable", reason=type(error).__name__)

    def look(self) -> None:
        """Wake the waiters whose feed goes on."""
        with self._lock:
            idle = [waiter for waiter in self._waiters if not waiter.changed.is_set()]
        if idle:
            for n in webhooks.with_news([(waiter.user_id, waiter.position) for waiter in idle]):
                idle[n].changed.set()


waiters = FeedWaiters()


def first_page(read: Callable[[Window], Page[T]], window: Window, seconds: float) -> Page[T]:
    """The page of a feed, once it has an item; after `seconds`, an empty one. Raises `RateLimited`."""
    page, give_up = read(window), clock.monotonic() + seconds
    waiter: FeedWaiter | None = None
    try:
        while not page.items and page.next is not None and (left := give_up - clock.monotonic()) > 0:
            if not page.has_more:
                waiter = waiter or waiters.add(auth.caller().user_id, page.next)
                _wait(waiter, page.next, left)
            page = read(Window(window.limit, page.next))
    finally:
        if waiter is not None:
            waiters.remove(waiter)
    return page


def _wait(waiter: FeedWaiter, position: Position, seconds: float) -> None:
    """Wait without a permit for large reads; the caller may have lost access meanwhile."""
    waiter.position = position
    large_reads.end()
    waiter.changed.wait(seconds)
    waiter.changed.clear()
    auth.caller()
    large_reads.begin()
