"""Responses to requests that end before the application: gunicorn cannot read them, or there are too many connections.

They have no path that could be trusted, so they are problem documents whatever the client wanted to reach. Connections
cost nothing to make: what is logged of them is limited, because it takes longer than the responses and fills disks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from common.errors import PlatformError, RateLimited
from common.kit import clock, log
from web.http import faces, problems, request_hooks

logger = log.get(__name__)

#: Lines of a process that are logged in a second.
LINES: Final = 100


class LineLimit:
    """At most `LINES` in each second."""

    def __init__(self) -> None:
        self._second = self._lines = self._left_out = 0

    def take(self) -> int | None:
        """How many lines were left out since the last one; None: this one is, too."""
        if (second := int(clock.monotonic())) != self._second:
            self._second, self._lines = second, 0
        if self._lines >= LINES:
            self._left_out += 1
            return None
        self._lines += 1
        left_out, self._left_out = self._left_out, 0
        return left_out


@dataclass(frozen=True, slots=True)
class Refusals:
    """Whole HTTP/1.1 responses, to be written to a socket that is closed afterwards (`web/server.py`)."""

    public_url: str
    lines: LineLimit = field(default_factory=LineLimit)

    def unreadable(self, status: int) -> bytes:
        """For a request that gunicorn refuses with this status."""
        return self._response(problems.kind_of(400 if status == 501 else status)())

    def too_many_connections(self) -> bytes:
        """For a connection over the limit of its network."""
        return self._response(
            RateLimited("Too many concurrent connections from your network. Close some or retry later.")
        )

    def forget_request(self) -> None:
        """Log what follows without the ids of the previous request on this connection."""
        log.clear()

    def _response(self, error: PlatformError) -> bytes:
        occurrence = clock.uuid7()  # identifies the occurrence in place of the path, which may be unreadable
        request_id = occurrence.hex
        body = problems.encode(problems.members(error, self.public_url, request_id=request_id, instance=occurrence.urn))
        headers = {
            "Connection": "close",
            "Content-Type": problems.MEDIA_TYPE,
            "Content-Length": len(body),
            "X-Request-ID": request_id,
            **problems.headers_of(error),
            **request_hooks.EVERYWHERE,
            **faces.CLOSED,
        }
        first = f"HTTP/1.1 {problems.status_of(type(error))} {error.title}"
        head = "\r\n".join([first, *(f"{name}: {value}" for name, value in headers.items()), "", ""])
        if (left_out := self.lines.take()) is not None:
            more = {"left_out": left_out} if left_out else {}
            logger.warning("request refused before the application", code=error.code, request_id=request_id, **more)
        return head.encode("latin-1") + body
