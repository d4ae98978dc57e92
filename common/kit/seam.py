"""The seam at which tests intercept every exchange between this process and the outside.

Every exchange with PostgreSQL (`db.connection`), Redis (`redis`) and RabbitMQ (`rabbit`) and every call of a tool
(`common.tools.adapters`) goes through `passing`. Without a hook this costs one comparison. A hook sees the exchange and
may act before or after it, or suppress it. tests/explorer injects every fault at every exchange in this way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")

#: server ("postgresql", "redis", "rabbitmq", "tool"), the request, the connection or client, and a function to send it.
Hook = Callable[[str, object, object, Callable[[], object]], object]


class _SeamState:
    hook: Hook | None = None


def install(hook: Hook | None) -> None:
    """Route every exchange of this process through `hook` (None: remove the hook). For tests only."""
    _SeamState.hook = hook


def is_hooked() -> bool:
    """Whether every exchange goes through a hook: then nothing is done beside the thread that asked for it."""
    return _SeamState.hook is not None


def passing(server: str, what: object, on: object, do: Callable[[], T]) -> T:
    """Call `do`, through the hook if one is installed. `what` is the request in the driver's own form, for the hook."""
    return do() if _SeamState.hook is None else cast("T", _SeamState.hook(server, what, on, do))
