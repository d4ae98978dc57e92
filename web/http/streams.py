"""Answers that are made while they are sent: event streams and files.

The first value is made before the answer is, so that what fails at once is told by a status: 503 with Retry-After when
a server is away. Once it has begun, a stream of events that cannot go on just ends, as its client reads it: it comes
back with `Last-Event-ID`. A file is cut off instead, without the mark of its end: half of it is never taken for the
whole.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator

from flask import Response

from common.errors import PlatformError
from common.kit import db, log, redis

logger = log.get(__name__)
EVENTS = "text/event-stream"
_EXPECTED = (db.Unreachable, redis.Unreachable, PlatformError)


def begun(response: Response) -> Response:
    """The response with its first value made, when it is one that is made while it is sent.

    Raises whatever making it raises.
    """
    if response.is_streamed:
        values = response.response
        response.response = Stream(values, cut_off=response.mimetype != EVENTS)  # type: ignore[assignment]
    return response


class Stream:
    """Values of which the first is there. `close` reaches whoever makes them, also when nobody has read any."""

    def __init__(self, values: Iterable[str | bytes], *, cut_off: bool) -> None:
        self._values, self._cut_off = values, cut_off
        self._rest = iter(values)
        self._first = list(_one(self._rest))

    def __iter__(self) -> Iterator[str | bytes]:
        return self

    def __next__(self) -> str | bytes:
        if self._first:
            return self._first.pop()
        try:
            return next(self._rest)
        except _EXPECTED as error:
            logger.warning("stream ended early", reason=type(error).__name__)
            if self._cut_off:
                raise ConnectionResetError(errno.ECONNRESET, "the rest of a file cannot be had") from error
            raise StopIteration from error

    def close(self) -> None:
        close = getattr(self._values, "close", None)
        if close is not None:
            close()


def _one(values: Iterator[str | bytes]) -> Iterator[str | bytes]:
    for value in values:
        yield value
        return
