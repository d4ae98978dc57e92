"""One method, two clients: descriptors that hand an operation to the driver of the client that was asked.

A method of a surface is a generator function. On a client with a thread it returns the result; on one with an event
loop, something to await. Type checkers see the right one, by the class that the method is reached through.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from importlib import import_module
from itertools import islice
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeAlias, TypeVar, overload

from joyfull.drivers import Outcome, SyncDriver
from joyfull.exchange import Operation
from joyfull.paging import Page

if TYPE_CHECKING:
    from joyfull.async_driver import AsyncDriver
    from joyfull.context import Context
    from joyfull.job import AsyncJob, Job
    from joyfull.streams import AsyncStream, Stream

P = ParamSpec("P")
T = TypeVar("T")
Driven: TypeAlias = "SyncDriver | AsyncDriver"


class Surface:
    """Something with methods that are operations."""

    _driver: Driven

    def __init__(self, driver: Driven) -> None:
        self._driver = driver

    @property
    def _context(self) -> Context:
        return self._driver.context


class Synchronous(Surface):
    """Its methods return results."""


class Asynchronous(Surface):
    """Its methods return awaitables."""


class Lazy(Generic[T]):
    """A resource of a client, `module:Class`: loaded and made when it is first asked for. Programs use two or three."""

    def __init__(self, where: str) -> None:
        self._module, _, self._kind = where.partition(":")

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Lazy[T]: ...
    @overload
    def __get__(self, instance: Surface, owner: type) -> T: ...
    def __get__(self, instance: Surface | None, owner: type) -> object:
        if instance is None:
            return self
        kind: type[Surface] = getattr(import_module(f"joyfull.resources.{self._module}"), self._kind)
        return vars(instance).setdefault(self._name, kind(instance._driver))  # which is found first from now on


class Pages(Generic[T]):
    """A list of the API: iterate over its items; pages are fetched as they are needed."""

    def __init__(self, driver: SyncDriver, start: Callable[[], Operation[Page[T]]]) -> None:
        self._driver = driver
        self._start = start
        #: Where the pages that were handed out whole end.
        self.cursor: str | None = None

    def pages(self) -> Iterator[Page[T]]:
        """Page by page."""
        for page in self._driver.iterate(self._start()):
            yield page
            self.cursor = page.next_cursor

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.items

    def first(self, n: int) -> list[T]:
        """The first items; no page is fetched beyond them."""
        return list(islice(self, n))


class AsyncPages(Generic[T]):
    """A list of the API: iterate over its items; pages are fetched as they are needed."""

    def __init__(self, driver: AsyncDriver, start: Callable[[], Operation[Page[T]]]) -> None:
        self._driver = driver
        self._start = start
        #: Where the pages that were handed out whole end.
        self.cursor: str | None = None

    async def pages(self) -> AsyncIterator[Page[T]]:
        """Page by page."""
        async for page in self._driver.iterate(self._start(), Outcome[Page[T]]()):
            yield page
            self.cursor = page.next_cursor

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item

    async def first(self, n: int) -> list[T]:
        """The first items; no page is fetched beyond them."""
        found: list[T] = []
        async for item in self:
            found.append(item)
            if len(found) >= n:
                break
        return found


class _Method(Generic[P, T]):
    """A generator function that is started with the driver of the instance."""

    def __init__(self, method: Callable[Concatenate[Any, P], Operation[T]]) -> None:
        self.method = method
        self.__doc__ = method.__doc__

    def _of(self, instance: Surface | None) -> object:
        if instance is None:
            return self

        bound = MethodType(self.method, instance)

        @wraps(bound)
        def start(*arguments: P.args, **named: P.kwargs) -> object:
            return self._start(instance._driver, lambda: bound(*arguments, **named))

        return start

    def _start(self, driver: Driven, begin: Callable[[], Operation[T]]) -> object:
        return driver.run(begin())


class operation(_Method[P, T]):  # noqa: N801 - a decorator
    """A method that returns one result."""

    @overload
    def __get__(self, instance: None, owner: type) -> operation[P, T]: ...
    @overload
    def __get__(self, instance: Synchronous, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, instance: Asynchronous, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, instance: Surface | None, owner: type) -> object:
        return self._of(instance)


class submitting(_Method[P, Any]):  # noqa: N801 - a decorator
    """A method that returns a job of the client's own kind."""

    @overload
    def __get__(self, instance: None, owner: type) -> submitting[P]: ...
    @overload
    def __get__(self, instance: Synchronous, owner: type) -> Callable[P, Job]: ...
    @overload
    def __get__(self, instance: Asynchronous, owner: type) -> Callable[P, Coroutine[Any, Any, AsyncJob]]: ...
    def __get__(self, instance: Surface | None, owner: type) -> object:
        return self._of(instance)


class listing(_Method[P, Page[T]]):  # noqa: N801 - a decorator
    """A method that returns a list of pages."""

    @overload
    def __get__(self, instance: None, owner: type) -> listing[P, T]: ...
    @overload
    def __get__(self, instance: Synchronous, owner: type) -> Callable[P, Pages[T]]: ...
    @overload
    def __get__(self, instance: Asynchronous, owner: type) -> Callable[P, AsyncPages[T]]: ...
    def __get__(self, instance: Surface | None, owner: type) -> object:
        return self._of(instance)

    def _start(self, driver: Driven, begin: Callable[[], Operation[Page[T]]]) -> object:
        return Pages(driver, begin) if isinstance(driver, SyncDriver) else AsyncPages(driver, begin)


class streaming(_Method[P, T]):  # noqa: N801 - a decorator
    """A method that returns items as they come."""

    @overload
    def __get__(self, instance: None, owner: type) -> streaming[P, T]: ...
    @overload
    def __get__(self, instance: Synchronous, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, instance: Asynchronous, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, instance: Surface | None, owner: type) -> object:
        return self._of(instance)

    def _start(self, driver: Driven, begin: Callable[[], Operation[T]]) -> object:
        return driver.iterate(begin()) if isinstance(driver, SyncDriver) else driver.iterate(begin(), Outcome[T]())


class answering(_Method[P, Any]):  # noqa: N801 - a decorator
    """A method that returns an answer while it is made."""

    @overload
    def __get__(self, instance: None, owner: type) -> answering[P]: ...
    @overload
    def __get__(self, instance: Synchronous, owner: type) -> Callable[P, Stream]: ...
    @overload
    def __get__(self, instance: Asynchronous, owner: type) -> Callable[P, AsyncStream]: ...
    def __get__(self, instance: Surface | None, owner: type) -> object:
        return self._of(instance)

    def _start(self, driver: Driven, begin: Callable[[], Operation[Any]]) -> object:
        streams = import_module("joyfull.streams")
        return (streams.Stream if isinstance(driver, SyncDriver) else streams.AsyncStream)(driver, begin)
