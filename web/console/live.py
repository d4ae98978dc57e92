"""What happens in an account, as a stream of its names: a page that shows such a thing asks for that part of itself.

One look in two seconds, for all accounts with a stream in this process and in one statement, finds out whose feed of
events has grown; only those are read. While an account has webhook deliveries to come, another statement for all such
accounts finds out whether an attempt was made. A process without streams looks at nothing.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final
from uuid import UUID

from common import webhooks
from common.errors import RateLimited
from common.kit import apart, clock, db, log
from common.kit.paging import Page, Position, Window
from common.webhooks import OutboxEvent
from web.http import large_reads

LOOK_SECONDS: Final = 2.0
HEARTBEAT_SECONDS: Final = 10.0
STREAM_SECONDS: Final = 3_600.0
#: Heartbeats without news after which deliveries are looked at all the same: one that is sent again is no event.
LOOKED_AT_AGAIN: Final = 6
#: Streams of an account in one process. A browser has one, and for a few seconds those of pages that it has just left.
MOST: Final = 60
#: Events that are named at once; more than a page shows.
NAMED: Final = Window(100)

#: Era, transaction and event.
_PLACE: Final = re.compile(r"(\d{1,9})\.(\d{1,18})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)

logger = log.get(__name__)


class Follower:
    """A stream: where its account's feed ended when it was last told, and what wakes it.

    `delivers`: attempts of deliveries may be made, so these are looked at too; `mark`: how far they were.
    """

    def __init__(self, account: UUID, after: Position | None = None) -> None:
        self.account = account
        self.woken = threading.Event()
        self.end: Position = after or webhooks.feed_end(account)
        self.delivers = False
        self.delivered = False
        self.mark = Decimal(0)


class Followers:
    """The streams of this process. While there are any, a thread looks (`looks` False: whoever calls `look_once`)."""

    def __init__(self, *, looks: bool = True) -> None:
        self._all: list[Follower] = []
        self._lock = threading.Lock()
        self._looking = not looks

    def add(self, account: UUID, after: Position | None = None) -> Follower:
        """A new stream, from now or from where an earlier one ended. Raises `RateLimited`."""
        follower = Follower(account, after)
        with self._lock:
            if sum(each.account == account for each in self._all) >= MOST:
                raise RateLimited(f"This account already has {MOST} open consoles.", retry_after=30)
            self._all.append(follower)
            if not self._looking:
                self._looking = True
                threading.Thread(target=self._look, name="console-live", daemon=True).start()
        return follower

    def remove(self, follower: Follower) -> None:
        """It was closed; closing it again does nothing."""
        with self._lock:
            if follower in self._all:
                self._all.remove(follower)

    def _look(self) -> None:
        while self._is_needed():
            clock.sleep(LOOK_SECONDS)
            with apart.logged(logger, "polling events for open consoles failed"):
                self.look_once()

    def _is_needed(self) -> bool:
        with self._lock:
            self._looking = bool(self._all)
            return self._looking

    def look_once(self) -> None:
        """Wake the streams of accounts whose feeds have grown, or whose deliveries went on."""
        with self._lock:
            followers = list(self._all)
        try:
            grown = webhooks.with_news([(each.account, each.end) for each in followers]) if followers else []
            for index in grown:
                followers[index].delivers = True
                followers[index].woken.set()
            _look_at_deliveries([each for each in followers if each.delivers])
        except db.Unreachable:
            return


followers: Final = Followers()


def _look_at_deliveries(followers: list[Follower]) -> None:
    """Wake those whose deliveries went on; those without any to come are left alone until there is news."""
    found = webhooks.progress({each.account for each in followers})
    for each in followers:
        now = found.get(each.account)
        each.delivers = now is not None and now.pending
        if now is not None and now.mark != each.mark:
            each.mark, each.delivered = now.mark, True
            each.woken.set()


def stream(follower: Follower, stands: Callable[[], bool]) -> Iterator[bytes]:
    """Names what happens, while the session `stands`; a comment at least every `HEARTBEAT_SECONDS`."""
    until, quiet = clock.monotonic() + STREAM_SECONDS, 0
    try:
        yield f"retry: 3000\nevent: place\nid: {place_of(follower.end)}\ndata:\n\n".encode()
        while clock.monotonic() < until and stands():
            if not follower.woken.wait(HEARTBEAT_SECONDS):
                quiet += 1
                follower.delivers |= quiet % LOOKED_AT_AGAIN == 0
                yield b": still here\n\n"
                continue
            follower.woken.clear()
            yield from _news(follower)
        yield b"event: bye\ndata:\n\n"
    finally:
        followers.remove(follower)


def _news(follower: Follower) -> Iterator[bytes]:
    """The events since, each run once, and the budget; then whether deliveries went on.

    If there are more than can be named at once, all that is shown is to be read anew, and the stream goes on from now.
    """
    page = _page(follower)
    latest = {each.invocation_id: each.type for each in page.items if each.invocation_id is not None}
    if page.has_more:
        yield f"event: reload\nid: {place_of(follower.end)}\ndata:\n\n".encode()
    elif page.items:
        for run, kind in latest.items():
            yield f"event: run\ndata: {run} {kind.removeprefix('invocation.')}\n\n".encode()
        yield f"event: budget\nid: {place_of(follower.end)}\ndata:\n\n".encode()
    if follower.delivered:
        follower.delivered = False
        yield b"event: deliveries\ndata:\n\n"


def _page(follower: Follower) -> Page[OutboxEvent]:
    """What comes next in the feed, after which the stream is at its end or, if there is more, at that of the feed."""
    with large_reads.held(follower.account) as was_read:
        page = webhooks.feed(follower.account, Window(NAMED.limit, follower.end), payloads=False)
        follower.end = webhooks.feed_end(follower.account) if page.has_more else page.next or follower.end
        was_read(large_reads.ITEM_BYTES * len(page.items))
    return page


def place_of(end: Position) -> str:
    """A place in a feed, as `Last-Event-ID` names it."""
    return ".".join(map(str, end))


def place(named: str) -> Position | None:
    """The place that is named; None for anything else. It is one of the account's own feed, whoever names it."""
    found = _PLACE.fullmatch(named)
    return (int(found[1]), int(found[2]), UUID(found[3])) if found else None
