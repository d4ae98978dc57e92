"""What carries out operations in the calling thread, and what it shares with `async_driver`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, cast

from joyfull.errors import JoyfullError
from joyfull.exchange import Close, Do, Emit, Instruction, Operation, Read, Request, Response, Sleep, T
from joyfull.transport import SyncTransport

if TYPE_CHECKING:
    from joyfull.context import Context
    from joyfull.credentials import Credentials


@dataclass(slots=True)
class Outcome(Generic[T]):
    """What an operation returned."""

    value: T | None = None


class Driver:
    """What both have: the settings, the credentials, and what is done with every response."""

    def __init__(self, context: Context, credentials: Credentials) -> None:
        self.context = context
        self.credentials = credentials
        #: Called with every response, for who wants to see it.
        self.observe: Callable[[Response], None] = lambda _response: None

    def _signed(self, request: Request, authorization: tuple[str, str] | None) -> Request:
        ours = (("User-Agent", self.context.user_agent), ("Accept", "application/json"))
        own = dict((*ours, *request.headers, *((authorization,) if authorization else ())))
        return replace(request, headers=tuple(own.items()))


class SyncDriver(Driver):
    """Carries out operations in the calling thread."""

    def __init__(self, context: Context, credentials: Credentials, transport: SyncTransport) -> None:
        super().__init__(context, credentials)
        self.transport = transport
        self._lock = threading.Lock()

    def run(self, operation: Operation[T]) -> T:
        """What the operation returns. Raises what it raises."""
        steps = self.iterate(operation)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return cast(T, end.value)

    def iterate(self, operation: Operation[T]) -> Generator[Any, None, T]:
        """What the operation emits. Streams that it leaves open are closed."""
        answer: object = None
        failed: JoyfullError | None = None
        streams: list[object] = []
        try:
            while True:
                try:
                    instruction = operation.throw(failed) if failed else operation.send(answer)
                except StopIteration as end:
                    return cast(T, end.value)
                answer, failed = None, None
                if isinstance(instruction, Emit):
                    yield instruction.item
                    continue
                try:
                    answer = self._carry_out(instruction, streams)
                except JoyfullError as error:
                    failed = error
        finally:
            operation.close()
            for stream in streams:
                self.transport.close_stream(stream)

    def _carry_out(self, instruction: Instruction, streams: list[object]) -> object:
        match instruction:
            case Request():
                response = self.transport.send(self._signed(instruction, self._authorization(instruction)))
                self.observe(response)
                streams += [response.stream] * (response.stream is not None)
                return response
            case Sleep(seconds):
                self.sleep(seconds)
            case Read(stream):
                return self.transport.read(stream)
            case Close(stream):
                streams.remove(stream)
                self.transport.close_stream(stream)
            case Do(work):
                return work()
        return None

    def _authorization(self, request: Request) -> tuple[str, str] | None:
        if request.public or self.credentials.fixed is not None:
            return None if request.public else self.credentials.fixed
        with self._lock:
            return self.run(self.credentials.fresh(self.context))

    def sleep(self, seconds: float) -> None:
        """Tests do not wait here."""
        time.sleep(seconds)
