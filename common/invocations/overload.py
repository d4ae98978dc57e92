"""New work waits in a short line for PostgreSQL and Redis, so that reads and the ends of running work go first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
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


class SubmitsOverloaded(DependencyUnavailable):
    """The platform is overloaded. Nothing was done; retry."""


@dataclass(slots=True)
class _Announced:
    """A request that has announced itself; `comes`: it has not asked for its permit yet."""

    line: Admission
    comes: bool = True


_announced: ContextVar[_Announced | None] = ContextVar("announced", default=None)


def announce() -> Callable[[], None]:
    """This request will submit, and has arrived whole: from now on it counts as if in line, if there is one.

    What is refused later has cost nearly as much as what is accepted: where a web process has more requests than time,
    only a refusal that costs little leaves time for the others. So the first permit of a request that is announced is
    given without asking again. Returns what is to be called at its end. Raises `SubmitsOverloaded`.
    """
    line = _line()
    try:
        line.announce()
    except LineTooLong as error:
        raise _refusal(error) from None
    request = _Announced(line)
    token = _announced.set(request)

    def end() -> None:
        _announced.reset(token)
        if request.comes:
            line.withdraw()

    return end


def is_busy() -> bool:
    """Whether a submit that comes now would wait."""
    return _line().is_busy()


def refuse_if_overloaded() -> None:
    """Raises `SubmitsOverloaded` if there would be no permit now: asked before a request is looked at."""
    try:
        _line().refuse_if_too_long()
    except LineTooLong as error:
        raise _refusal(error) from None


@contextmanager
def permit() -> Iterator[None]:
    """For one submit. Raises `SubmitsOverloaded` before it."""
    request = _announced.get()
    comes = request is not None and request.comes
    line = request.line if request is not None and comes else _line()
    if request is not None:
        request.comes = False
    try:
        with line.permit(announced=comes):
            yield
    except LineTooLong as error:
        raise _refusal(error) from None


@contextmanager
def permit_to_look() -> Iterator[None]:
    """For one look for what an earlier submit has made. Who is announced has its place in line and needs no other."""
    request = _announced.get()
    with nullcontext() if request is not None and request.comes else permit():
        yield


def _refusal(error: LineTooLong) -> SubmitsOverloaded:
    REFUSED.inc()
    return SubmitsOverloaded(retry_after=ceil(error.seconds))
