"""The seam at which a test stands between this process and everything outside it.

Every exchange with PostgreSQL (`patience`), Redis (`redis`) and RabbitMQ (`rabbit`) and every call of a tool
(`adapters`) is made through `passing`. Without a hook that is one comparison. With one, the hook sees the exchange, and
may do something before or after it, or leave it out. tests/explorer puts every fault at every exchange in this way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")

#: server ("postgresql", "redis", "rabbitmq", "tool"), what is to be sent, the connection or client, and what sends it.
Hook = Callable[[str, Any, Any, Callable[[], Any]], Any]


class _State:
    hook: Hook | None = None


def install(hook: Hook | None) -> None:
    """Have every exchange of this process pass through `hook` (None: through nothing). For tests only."""
    _State.hook = hook


def passing(server: str, what: object, on: object, do: Callable[[], T]) -> T:
    """Do it, unless the hook does otherwise. `what` is for the hook to read: a driver's own form of the request."""
    return do() if _State.hook is None else cast("T", _State.hook(server, what, on, do))
