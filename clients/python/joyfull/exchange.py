"""What an operation and its driver say to each other.

An operation is a generator: it yields instructions and receives what came of them. It does no I/O and knows nothing of
threads or event loops, so that everything about retries, waiting and paging exists once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, complete before its first attempt."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    #: Seconds for connecting, and for each read and write.
    timeout: float = 30.0
    #: Whether the driver leaves the body to `Read`.
    stream: bool = False
    #: Whether sending it twice is the same as sending it once.
    repeatable: bool = True
    #: Whether it goes without credentials.
    public: bool = False

    @property
    def key(self) -> str | None:
        """Its Idempotency-Key."""
        return dict(self.headers).get("Idempotency-Key")


@dataclass(frozen=True, slots=True)
class Response:
    """What was answered. `headers` are found by their names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: What `Read` and `Close` take, of a streamed one.
    stream: object = field(default=None, compare=False, repr=False)

    def json(self) -> Any:
        """What the body says. Raises ValueError where it is not JSON."""
        return json.loads(self.body)

    def __reduce__(self) -> tuple[type[Response], tuple[int, dict[str, str], bytes]]:
        return Response, (self.status, dict(self.headers), self.body)


class Sleep(NamedTuple):
    """Go on after that many seconds."""

    seconds: float


class Read(NamedTuple):
    """The next part of a streamed body; empty at its end."""

    stream: object


class Close(NamedTuple):
    """No more of this stream is wanted."""

    stream: object


class Do(NamedTuple):
    """Something that takes a while on this machine, such as writing to a disk."""

    work: Callable[[], object]


class Emit(NamedTuple):
    """One item for the caller, which iterates."""

    item: object


Instruction = Request | Sleep | Read | Close | Do | Emit
Operation = Generator[Instruction, object, T]


def send(request: Request) -> Operation[Response]:
    """Send a request. Raises ConnectionFailed, Timeout."""
    return cast(Response, (yield request))


def sleep(seconds: float) -> Operation[None]:
    """Wait."""
    yield Sleep(seconds)


def read(response: Response) -> Operation[bytes]:
    """The next part of a streamed body. Raises ConnectionFailed, Timeout."""
    return cast(bytes, (yield Read(response.stream)))


def close(response: Response) -> Operation[None]:
    """End a streamed response."""
    yield Close(response.stream)


def do(work: Callable[[], T]) -> Operation[T]:
    """Run something where it holds up nobody."""
    return cast(T, (yield Do(work)))


def emit(item: object) -> Operation[None]:
    """Hand one item to the caller, which iterates."""
    yield Emit(item)
