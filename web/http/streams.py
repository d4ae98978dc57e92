"""Streamed responses: event streams and files.

The first value is produced before the response starts, so that an immediate failure gets its status: 503 with
Retry-After while a server is unreachable. A later failure ends an event stream normally; its client reconnects with
`Last-Event-ID`. A file is cut off by closing the connection instead, so that no client takes a part for the whole.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator

from flask import Response

from common.errors import PlatformError
from common.kit import db, log, redis

logger = log.get(__name__)
EVENTS = "text/event-stream"
_EXPECTED = (db.Unreachable, redis.RedisUnreachable, PlatformError)


def events(values: Iterable[bytes], closed: Callable[[], None] | None = None) -> Response:
    """Server-sent events; `closed` is called at the end, also if nothing was sent."""
    response = Response(values, content_type=f"{EVENTS}; charset=utf-8")
    if closed is not None:
        response.call_on_close(closed)
    response.headers.update({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    return response


def started(response: Response) -> Response:
    """The response; if it is streamed, with its first value produced. Raises what producing that raises."""
    if response.is_streamed:
        values = response.response
        response.response = Stream(values, cut_off=response.mimetype != EVENTS)  # type: ignore[assignment]
    return response


class Stream:
    """An iterator whose first value has been produced. `close` closes the source, even if nothing was read."""

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
            logger.warning("stream aborted", reason=type(error).__name__)
            if self._cut_off:
                raise ConnectionResetError(errno.ECONNRESET, "the rest of the file is not available") from error
            raise StopIteration from error

    def close(self) -> None:
        close = getattr(self._values, "close", None)
        if close is not None:
            close()


def _one(values: Iterator[str | bytes]) -> Iterator[str | bytes]:
    for value in values:
        yield value
        return
