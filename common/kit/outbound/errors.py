"""What can go wrong on the way out. Every message may be shown to users: none tells what our own network looks like."""

from __future__ import annotations

import inspect


class OutboundError(Exception):
    """The exchange did not end in a complete answer.

    `sent`: False only when the peer surely did not receive a whole request, so that nothing was executed there.
    `status`: the HTTP status, when the head of an answer had arrived.
    """

    def __init__(self, message: str | None = None, *, sent: bool = False, status: int | None = None) -> None:
        self.message = message or inspect.cleandoc(type(self).__doc__ or "")
        self.sent = sent
        self.status = status
        super().__init__(self.message)


class Refused(OutboundError):
    """This URL is not allowed as a target."""


class Unreachable(OutboundError):
    """The peer could not be reached."""


class TimedOut(OutboundError):
    """The peer did not answer in time."""


class Aborted(OutboundError):
    """The call was aborted."""


class TooLarge(OutboundError):
    """The answer is larger than allowed."""


class Broken(OutboundError):
    """The peer broke off, or did not answer in proper HTTP."""
