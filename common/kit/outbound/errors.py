"""Failures of outbound requests. Every message may be shown to users: none reveals anything about our own network."""

from __future__ import annotations

import inspect


class OutboundError(Exception):
    """The exchange did not end in a complete response.

    `sent`: False only if the peer certainly did not receive a whole request, so nothing was executed there.
    `status`: the HTTP status, if the head of a response arrived.
    """

    def __init__(self, message: str | None = None, *, sent: bool = False, status: int | None = None) -> None:
        self.message = message or inspect.cleandoc(type(self).__doc__ or "")
        self.sent = sent
        self.status = status
        super().__init__(self.message)


class Refused(OutboundError):
    """This URL is not allowed as a target."""


class PeerUnreachable(OutboundError):
    """No connection could be made."""


class TimedOut(OutboundError):
    """There was no answer in time."""


class Aborted(OutboundError):
    """The call was aborted."""


class ResponseTooLarge(OutboundError):
    """The response is larger than allowed."""


class Broken(OutboundError):
    """The connection was closed early, or the response was not valid HTTP."""
