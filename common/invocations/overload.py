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


class Overloaded(DependencyUnavailable):
    """The platform is overloaded. Nothing was done; retry."""


@contextmanager
def permit() -> Iterator[None]:
    """For one submit, or one look for what an earlier one has made. Raises `Overloaded` before it."""
    try:
        with _line().permit():
            yield
    except LineTooLong as error:
        raise _refusal(error) from None


def refuse_if_overloaded() -> None:
    """Raises `Overloaded` if there would be no permit now: asked before a submit is looked at.

    Where a web process has more requests than time, only a refusal that costs little leaves time for those accepted.
    """
    try:
        _line().refuse_if_too_long()
    except LineTooLong as error:
        raise _refusal(error) from None


def _refusal(error: LineTooLong) -> Overloaded:
    REFUSED.inc()
    return Overloaded(retry_after=ceil(error.seconds))
