"""`client.with_raw`: every method, with the response that its result was made from."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any

from joyfull.exchange import Response
from joyfull.surface import Surface


class WithRaw:
    """`with_raw.tools.get("echo")` returns `(tool, response)`: the last one, where a call took several."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._surface, name)
        if isinstance(found, Surface):
            return WithRaw(found)
        if not callable(found):
            return found
        seen: list[Response] = []
        observed = copy(self._surface)
        observed._driver = copy(self._surface._driver)
        observed._driver.observe = seen.append
        return _paired(getattr(observed, name), seen)


def _paired(method: Callable[..., object], seen: list[Response]) -> Callable[..., object]:
    def call(*arguments: object, **named: object) -> object:
        result = method(*arguments, **named)
        return _awaited(result, seen) if inspect.iscoroutine(result) else (result, seen[-1] if seen else None)

    return call


async def _awaited(result: Awaitable[object], seen: list[Response]) -> tuple[object, Response | None]:
    return await result, seen[-1] if seen else None
