"""Responses to requests that end before the application: gunicorn cannot read them, or there are too many connections.

They have no path that could be trusted, so they are problem documents whatever the client wanted to reach.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import PlatformError, RateLimited
from common.kit import clock, log
from web.http import faces, problems, request_hooks

logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Refusals:
    """Whole HTTP/1.1 responses, to be written to a socket that is closed afterwards (`web/server.py`)."""

    public_url: str

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
        logger.warning("request refused before the application", code=error.code, request_id=request_id)
        return head.encode("latin-1") + body
