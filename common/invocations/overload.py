"""New work waits in a short line for PostgreSQL and Redis, so that reads and the ends of running work go first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@dataclass(slots=True, eq=False)
class _Announced:
    """A request that has announced itself; `comes`: it has not had its permit yet."""

    line: Admission
    comes: bool = True

    def leave(self) -> None:
        """It is not to submit (any more)."""
        self.comes = False
        self.line.withdraw(self)


_announced: ContextVar[_Announced | None] = ContextVar("announced", default=None)


def refuse_if_overloaded() -> None:
    """Raises `SubmitsOverloaded` if there would be no permit now: asked before a request is looked at."""
    try:
        _line().refuse_if_too_long()
    except LineTooLong as error:
        raise _refusal(error) from None


def announce() -> Callable[[], None]:
    """This request takes its place in line: for when submits have to wait, and all of it has arrived.

    What is refused later has cost nearly as much as what is accepted: where a web process has more requests than time,
    only a refusal that costs little leaves time for the others. So the first permit of a request that is announced is
    given without asking again. Returns what is to be called at its end. Raises `SubmitsOverloaded`.
    """
    request = _Announced(_line())
    try:
        request.line.announce(request)
    except LineTooLong as error:
        raise _refusal(error) from None
    token = _announced.set(request)

    def end() -> None:
        request.leave()
        _announced.reset(token)

    return end


def is_busy() -> bool:
    """Whether a submit that comes now would wait."""
    return _line().is_busy()


def _coming() -> _Announced | None:
    request = _announced.get()
    return request if request is not None and request.comes else None


def leave() -> None:
    """This request needs no permit: what follows may take long."""
    if request := _coming():
        request.leave()


@contextmanager
def aside() -> Iterator[None]:
    """Around what may take long before a permit: others do not wait for that."""
    request = _coming()
    if request is None:
        yield
        return
    request.line.withdraw(request)
    try:
        yield
    finally:
        if request.comes:
            request.line.announce_again(request)


@contextmanager
def permit() -> Iterator[None]:
    """For one submit. Raises `SubmitsOverloaded` before it."""
    request = _coming()
    if request is not None:
        request.comes = False
    with _permit(request):
        yield


@contextmanager
def permit_to_look() -> Iterator[None]:
    """For one look for what an earlier submit has made, before another permit. Raises `SubmitsOverloaded` before it."""
    request = _coming()
    with _permit(request):
        yield
    if request is not None:
        request.line.announce_again(request)


@contextmanager
def _permit(request: _Announced | None) -> Iterator[None]:
    line = _line() if request is None else request.line
    try:
        with line.permit(request):
            yield
    except LineTooLong as error:
        raise _refusal(error) from None


def _refusal(error: LineTooLong) -> SubmitsOverloaded:
    REFUSED.inc()
    return SubmitsOverloaded(retry_after=ceil(error.seconds))
