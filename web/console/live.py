"""What happens in an account, as a stream of its names: a page that shows such a thing asks for that part of itself.

One look in two seconds, for all accounts with a stream in this process and in one statement, finds out whose feed of
events has grown; only those are read. A process without streams looks at nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final
from uuid import UUID

from common import webhooks
from common.errors import RateLimited
from common.kit import apart, clock, db, log
from common.kit.paging import Position, Window

LOOK_SECONDS: Final = 2.0
HEARTBEAT_SECONDS: Final = 10.0
STREAM_SECONDS: Final = 3_600.0
#: Streams of an account in one process: a browser has one.
MOST: Final = 20
#: Events that are named at once; more than a page shows.
NAMED: Final = Window(100)

logger = log.get(__name__)


class Follower:
    """A stream: where its account's feed ended when it was last told, and what wakes it."""

    def __init__(self, account: UUID) -> None:
        self.account = account
        self.woken = threading.Event()
        self.end: Position = webhooks.feed_end(account)


class Followers:
    """The streams of this process. While there are any, a thread looks (`looks` False: whoever calls `look_once`)."""

    def __init__(self, *, looks: bool = True) -> None:
        self._all: list[Follower] = []
        self._lock = threading.Lock()
        self._looking = not looks

    def add(self, account: UUID) -> Follower:
        """A new stream. Raises `RateLimited`."""
        follower = Follower(account)
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
            with apart.logged(logger, "looking for events of open consoles failed"):
                self.look_once()

    def _is_needed(self) -> bool:
        with self._lock:
            self._looking = bool(self._all)
            return self._looking

    def look_once(self) -> None:
        """Wake the streams of accounts whose feeds have grown."""
        with self._lock:
            followers = list(self._all)
        try:
            grown = webhooks.with_news([(each.account, each.end) for each in followers]) if followers else []
        except db.Unreachable:
            return
        for index in grown:
            followers[index].woken.set()


followers: Final = Followers()


def stream(follower: Follower, stands: Callable[[], bool]) -> Iterator[bytes]:
    """Names what happens, while the session `stands`; a comment at least every `HEARTBEAT_SECONDS`."""
    until = clock.monotonic() + STREAM_SECONDS
    try:
        yield b"retry: 3000\n: open\n\n"
        while clock.monotonic() < until and stands():
            if not follower.woken.wait(HEARTBEAT_SECONDS):
                yield b": still here\n\n"
                continue
            follower.woken.clear()
            yield from _news(follower)
        yield b"event: bye\ndata:\n\n"
    finally:
        followers.remove(follower)


def _news(follower: Follower) -> Iterator[bytes]:
    """The events since, each run once, and the budget."""
    page = webhooks.feed(follower.account, Window(NAMED.limit, follower.end), payloads=False)
    follower.end = page.next or follower.end
    latest = {each.invocation_id: each.type for each in page.items if each.invocation_id is not None}
    for run, kind in latest.items():
        yield f"event: run\ndata: {run} {kind.removeprefix('invocation.')}\n\n".encode()
    if page.items:
        yield b"event: budget\ndata:\n\n"
    if page.has_more:
        follower.woken.set()
