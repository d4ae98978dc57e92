"""The client for event loops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from joyfull import configuration
from joyfull.async_driver import AsyncDriver
from joyfull.client import ClientSurface, context_of
from joyfull.credentials import Session
from joyfull.drivers import Outcome
from joyfull.job import AsyncJob
from joyfull.surface import Asynchronous, Lazy
from joyfull.transport import AsyncHttp, AsyncTransport

if TYPE_CHECKING:
    from joyfull.bulk import Refused
    from joyfull.exchange import Operation
    from joyfull.models.bodies import BatchItem
    from joyfull.resources.account import AsyncAccount, AsyncSessions
    from joyfull.resources.admin import AsyncAdmin
    from joyfull.resources.events import AsyncEvents
    from joyfull.resources.invocations import AsyncInvocations
    from joyfull.resources.keys import AsyncKeys
    from joyfull.resources.platform import AsyncPlatform
    from joyfull.resources.schedules import AsyncSchedules
    from joyfull.resources.subscription import AsyncSubscription
    from joyfull.resources.tools import AsyncTools
    from joyfull.resources.usage import AsyncUsage
    from joyfull.resources.webhooks import AsyncWebhooks


class AsyncClient(ClientSurface, Asynchronous):
    """The API, for programs with an event loop. The same as `Client`, awaited."""

    _driver: AsyncDriver
    tools: Lazy[AsyncTools] = Lazy("tools:AsyncTools")
    invocations: Lazy[AsyncInvocations] = Lazy("invocations:AsyncInvocations")
    usage: Lazy[AsyncUsage] = Lazy("usage:AsyncUsage")
    webhooks: Lazy[AsyncWebhooks] = Lazy("webhooks:AsyncWebhooks")
    events: Lazy[AsyncEvents] = Lazy("events:AsyncEvents")
    account: Lazy[AsyncAccount] = Lazy("account:AsyncAccount")
    sessions: Lazy[AsyncSessions] = Lazy("account:AsyncSessions")
    keys: Lazy[AsyncKeys] = Lazy("keys:AsyncKeys")
    subscription: Lazy[AsyncSubscription] = Lazy("subscription:AsyncSubscription")
    schedules: Lazy[AsyncSchedules] = Lazy("schedules:AsyncSchedules")
    admin: Lazy[AsyncAdmin] = Lazy("admin:AsyncAdmin")
    platform: Lazy[AsyncPlatform] = Lazy("platform:AsyncPlatform")

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        profile: str | None = None,
        session: Session | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        journal: Path | None = None,
        http: AsyncHttp | None = None,
        user_agent_suffix: str | None = None,
    ) -> None:
        chosen = configuration.profile(profile)
        server = configuration.server(base_url, chosen)
        context = context_of(timeout, retries, journal, server, user_agent_suffix)
        credentials = configuration.credentials(api_key, session, chosen)
        driver = AsyncDriver(context, credentials, AsyncTransport(server, http))
        context.job = lambda invocation, replayed: AsyncJob(driver, invocation, replayed=replayed)
        super().__init__(driver)
        self.base_url = server

    def submit_many(self, orders: Iterable[BatchItem], *, in_flight: int = 1000) -> AsyncIterator[AsyncJob | Refused]:
        """Submit many, a hundred in a request; at most `in_flight` are unfinished. In their order."""
        submit_many: Callable[..., Operation[Any]] = import_module("joyfull.bulk").submit_many
        return self._driver.iterate(submit_many(self._context, orders, in_flight), Outcome[Any]())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Submitted jobs continue."""
        await self._driver.transport.close()
