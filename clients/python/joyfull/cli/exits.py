"""Exit statuses, and which error has which."""

from __future__ import annotations

from enum import IntEnum

from joyfull.errors import (
    ConfigurationError,
    InvocationEnded,
    JoyfullError,
    SessionEnded,
    SignatureError,
    WaitTimeout,
)
from joyfull.problems import ApiError


class Exit(IntEnum):
    """Exit statuses of the command."""

    DONE = 0
    FAILED = 1  # the API, or the network
    USAGE = 2
    NOT_SUCCEEDED = 3  # the invocation ended otherwise
    NOT_ALLOWED = 4  # credentials or rights
    NOT_FOUND = 5
    EXHAUSTED = 6
    GOES_ON = 7  # the wait ran out or was left; the work goes on
    BOOKS_DIFFER = 8
    INTERRUPTED = 130


_BY_STATUS = {401: Exit.NOT_ALLOWED, 403: Exit.NOT_ALLOWED, 404: Exit.NOT_FOUND, 402: Exit.EXHAUSTED}


def status_of(error: JoyfullError) -> Exit:
    """The exit status for an error."""
    if isinstance(error, ApiError):
        return _BY_STATUS.get(error.status, Exit.FAILED)
    if isinstance(error, WaitTimeout):
        return Exit.GOES_ON
    if isinstance(error, InvocationEnded):
        return Exit.NOT_SUCCEEDED
    if isinstance(error, SessionEnded):
        return Exit.NOT_ALLOWED
    return Exit.USAGE if isinstance(error, ConfigurationError | SignatureError) else Exit.FAILED
