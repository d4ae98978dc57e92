"""Reading a streamed answer, for both clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from joyfull.answers import Answer, Part
from joyfull.drivers import Outcome, SyncDriver
from joyfull.errors import ConfigurationError
from joyfull.exchange import Operation

if TYPE_CHECKING:
    from joyfull.async_driver import AsyncDriver
    from joyfull.job import AsyncJob, Job

_NOT_BEGUN = "nothing has been submitted yet: that happens when the first part is requested"


class Stream:
    """Iterate over the parts of an answer as they come, or over its `text()`; once."""

    def __init__(self, driver: SyncDriver, start: Callable[[], Operation[Any]]) -> None:
        self._job: Job | None = None
        self._items = driver.iterate(start())

    @property
    def job(self) -> Job:
        """Whose answer it is, from the first part on; at the end its output is the whole answer."""
        if self._job is None:
            raise ConfigurationError(_NOT_BEGUN)
        return self._job

    def __iter__(self) -> Iterator[Part]:
        for item in self._items:
            if isinstance(item, Part):
                yield item
            else:
                self._job = item

    def text(self) -> Iterator[str]:
        """The text to write on with: what a part repeats is left out, and what was missed comes at the end."""
        answer = Answer()
        yield from filter(None, map(answer.add, self))

    def close(self) -> None:
        """Stop reading. The job continues."""
        self._items.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncStream:
    """Iterate over the parts of an answer as they come, or over its `text()`; once."""

    def __init__(self, driver: AsyncDriver, start: Callable[[], Operation[Any]]) -> None:
        self._job: AsyncJob | None = None
        self._items = driver.iterate(start(), Outcome[Any]())

    @property
    def job(self) -> AsyncJob:
        """Whose answer it is, from the first part on; at the end its output is the whole answer."""
        if self._job is None:
            raise ConfigurationError(_NOT_BEGUN)
        return self._job

    async def __aiter__(self) -> AsyncIterator[Part]:
        async for item in self._items:
            if isinstance(item, Part):
                yield item
            else:
                self._job = item

    async def text(self) -> AsyncIterator[str]:
        """The text to write on with: what a part repeats is left out, and what was missed comes at the end."""
        answer = Answer()
        async for part in self:
            if text := answer.add(part):
                yield text

    async def close(self) -> None:
        """Stop reading. The job continues."""
        await self._items.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
