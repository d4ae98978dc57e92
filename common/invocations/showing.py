"""What of a streamed answer is shown while it is made, from its log: a window that may be lost at any moment."""

from __future__ import annotations

import json
from dataclasses import replace

from common.invocations import partial, streams
from common.invocations.model import Invocation, Shown
from common.invocations.streams import READ_MOST, START, LogKey, PartId
from common.kit import redis
from common.tools.streamed import Assembly


def shown_so_far(invocation: Invocation) -> Shown | None:
    """What is shown of an answer that is being written, and what it would cost to cancel it now.

    The cost is the meter's; a tool that has reported its usage meanwhile is charged by that. None: nothing is shown,
    the invocation does not run or was read without its input, or the log cannot be read.
    """
    if not invocation.stream or invocation.status != "running" or invocation.input is None:
        return None
    try:
        written = _read(LogKey(invocation.user_id, invocation.id))
    except redis.RedisUnreachable:
        return None
    if not written.choices():
        return None
    shown = partial.left_of(invocation.price, invocation.input, written)
    return replace(shown, cost=min(shown.cost, invocation.held))


def _read(key: LogKey) -> Assembly:
    """All that is in the log. Raises `redis.RedisUnreachable`."""
    written, after = Assembly(), START
    while True:
        [parts] = streams.read([(key, after)])
        for part in parts:
            written = Assembly() if part.is_snapshot or _begins(part.place) else written
            written.write(json.loads(part.choices))
        if len(parts) < READ_MOST:
            return written
        after = parts[-1].place


def _begins(place: PartId) -> bool:
    return place.n == 1
