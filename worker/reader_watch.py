"""Which of this process's streams are made for readers only, and have had none for a while.

What is not known is never taken for an absence: only one that Redis has confirmed again and again, in one run, counts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from uuid import UUID

from common.invocations import streams
from common.kit import clock

#: Seconds between two looks.
LOOK_EVERY: Final = 5.0
#: For how long (seconds) a stream goes on without readers.
UNREAD_SECONDS: Final = 10.0
#: Looks that are further apart (in seconds) say nothing about the time between them.
APART: Final = 15.0


class ReaderWatch:
    """Looks at the readers of live streams. One thread looks; any may ask."""

    def __init__(self) -> None:
        self._since: dict[UUID, float] = {}
        self._looked_at = -APART
        self._server = ""

    def look(self, live: Collection[UUID]) -> None:
        """Look, if it is time. Raises `redis.RedisUnreachable`."""
        now = clock.monotonic()
        if not live or now - self._looked_at < LOOK_EVERY:
            return
        seen = streams.readers_of([*live])
        if seen.server != self._server or now - self._looked_at > APART:
            self._since = {}
        self._server, self._looked_at = seen.server, now
        self._since = {id_: self._since.get(id_, now) for id_ in seen.unread}

    def forget(self) -> None:
        """Nothing is known any more."""
        self._since = {}

    def is_unread(self, invocation_id: UUID) -> bool:
        """Whether the stream goes on for nobody."""
        since = self._since.get(invocation_id)
        return since is not None and clock.monotonic() - since >= UNREAD_SECONDS
