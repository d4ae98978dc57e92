"""New work waits in a short line for PostgreSQL and Redis, so that reads and the ends of running work go first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Final

from common.errors import DependencyUnavailable
from common.kit import memory, metrics
from common.kit.admission import Admission, LineTooLong

#: Submits of a process that use PostgreSQL and Redis at once: fewer than it has connections.
AT_ONCE: Final = 12
#: How long one in line waits, in seconds, if nothing moves.
PATIENCE: Final = 3.0
REFUSED = metrics.Counter("joyfull_submits_refused", "Submits refused because too many were waiting")
_line = memory.Part(lambda: Admission(AT_ONCE, PATIENCE))


@contextmanager
def permit() -> Iterator[None]:
    """For one submit, or one look for what an earlier one has made. Raises `DependencyUnavailable` before it."""
    try:
        with _line().permit():
            yield
    except LineTooLong as error:
        REFUSED.inc()
        raise DependencyUnavailable(
            "The platform is overloaded. Nothing was done; retry.",
            retry_after=max(1, ceil(error.seconds)),
        ) from None
