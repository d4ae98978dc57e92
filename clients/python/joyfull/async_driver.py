"""What carries out operations in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from joyfull.drivers import Driver, Outcome
from joyfull.errors import JoyfullError
from joyfull.exchange import Close, Do, Emit, Instruction, Operation, Read, Request, Sleep, T
from joyfull.transport import AsyncTransport

if TYPE_CHECKING:
    from joyfull.context import Context
    from joyfull.credentials import Credentials


class AsyncDriver(Driver):
    """Carries out operations in the event loop."""

    def __init__(self, context: Context, credentials: Credentials, transport: AsyncTransport) -> None:
        super().__init__(context, credentials)
        self.transport = transport
        self._lock = asyncio.Lock()

    async def run(self, operation: Operation[T]) -> T:
        """What the operation returns. Raises what it raises."""
        outcome = Outcome[T]()
        async for _ in self.iterate(operation, outcome):
            pass
        return cast(T, outcome.value)

    async def iterate(self, operation: Operation[T], outcome: Outcome[T]) -> AsyncGenerator[Any, None]:
        """What the operation emits. Streams that it leaves open are closed."""
        answer: object = None
        failed: JoyfullError | None = None
        streams: list[object] = []
        try:
            while True:
                try:
                    instruction = operation.throw(failed) if failed else operation.send(answer)
                except StopIteration as end:
                    outcome.value = end.value
                    return
                answer, failed = None, None
                if isinstance(instruction, Emit):
                    yield instruction.item
                    continue
                try:
                    answer = await self._carry_out(instruction, streams)
                except JoyfullError as error:
                    failed = error
        finally:
            operation.close()
            for stream in streams:
                with suppress(asyncio.CancelledError):
                    await self.transport.close_stream(stream)

    async def _carry_out(self, instruction: Instruction, streams: list[object]) -> object:
        match instruction:
            case Request():
                response = await self.transport.send(self._signed(instruction, await self._authorization(instruction)))
                self.observe(response)
                streams += [response.stream] * (response.stream is not None)
                return response
            case Sleep(seconds):
                await self.sleep(seconds)
            case Read(stream):
                return await self.transport.read(stream)
            case Close(stream):
                streams.remove(stream)
                await self.transport.close_stream(stream)
            case Do(work):
                return await asyncio.to_thread(work)
        return None

    async def _authorization(self, request: Request) -> tuple[str, str] | None:
        if request.public or self.credentials.fixed is not None:
            return None if request.public else self.credentials.fixed
        async with self._lock:
            return await self.run(self.credentials.fresh(self.context))

    async def sleep(self, seconds: float) -> None:
        """Tests do not wait here."""
        await asyncio.sleep(seconds)
