"""What both clients do themselves, and the one for threads."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from joyfull import configuration, models, submitting, wire
from joyfull.context import Context
from joyfull.credentials import Session
from joyfull.drivers import SyncDriver
from joyfull.exchange import Operation, Request, Response
from joyfull.job import AnyJob, Job, answer_of, output_of
from joyfull.operations import API_VERSION
from joyfull.resource import one, raw, request_of
from joyfull.surface import Lazy, Surface, Synchronous, answering, operation, streaming
from joyfull.surface import submitting as returning_job
from joyfull.transport import SyncHttp, SyncTransport
from joyfull.version import VERSION

if TYPE_CHECKING:
    from datetime import datetime

    from joyfull.answers import Part
    from joyfull.books import BooksReport
    from joyfull.bulk import Refused, Result
    from joyfull.models.bodies import BatchItem, SubmitOptions
    from joyfull.raw_access import WithRaw
    from joyfull.resources.account import Account, Sessions
    from joyfull.resources.admin import Admin
    from joyfull.resources.events import Events
    from joyfull.resources.invocations import Invocations
    from joyfull.resources.keys import Keys
    from joyfull.resources.platform import Platform
    from joyfull.resources.schedules import Schedules
    from joyfull.resources.subscription import Subscription
    from joyfull.resources.tools import Tools
    from joyfull.resources.usage import Usage
    from joyfull.resources.webhooks import Webhooks


class ClientSurface(Surface):
    """What both clients do themselves."""

    @property
    def with_raw(self) -> WithRaw:
        """Every method of this client, returning `(result, response)`."""
        kind: type[WithRaw] = import_module("joyfull.raw_access").WithRaw
        return kind(self)

    @returning_job
    def submit(
        self,
        tool: str,
        input: object,
        *,
        name: str | None = None,
        idempotency_key: str | None = None,
        wait: float = 0,
        **options: Unpack[SubmitOptions],
    ) -> Operation[AnyJob]:
        """Submit an invocation, once. `wait`: seconds (at most 60) to wait for its end before returning.

        `options`: max_tokens, expires_in (seconds), metadata, webhook_url, webhook_events, end_user, not_before,
        version, priority, quote, stream. With `name`, and a journal, calling it again after any crash returns the same
        invocation. Raises NameReused, or an ApiError by its code: ToolInputRejected, BudgetExhausted, ….
        """
        body = submitting.order_of(input, options)
        if name is not None:
            submit_named: Callable[..., Operation[AnyJob]] = import_module("joyfull.named_submits").submit_named
            return (yield from submit_named(self._context, tool, body, name, wait))
        return (yield from submitting.submit(self._context, tool, body, key=idempotency_key, wait=wait))

    @operation
    def run(
        self, tool: str, input: object, *, timeout: float | None = 300.0, **options: Unpack[SubmitOptions]
    ) -> Operation[Any]:
        """Submit, wait, and return the output. `options` are those of `submit`.

        Raises as `submit` does; InvocationFailed, InvocationCanceled, InvocationExpired; WaitTimeout, with the job.
        """
        began = self._context.now()
        body = submitting.order_of(input, options)
        wait = 30.0 if timeout is None else min(30.0, timeout)
        job = yield from submitting.submit(self._context, tool, body, key=None, wait=wait)
        left = None if timeout is None else timeout - (self._context.now() - began)
        return (yield from output_of(job, left))

    @answering
    def stream(
        self, tool: str, input: object, *, timeout: float | None = 300.0, **options: Unpack[SubmitOptions]
    ) -> Operation[Part | AnyJob]:
        """Submit, and iterate over the answer while it is made: over its parts, or over its `text()`.

        It is submitted when the first part is asked for; `.job` is there from then on, and its output at the end is the
        whole. Raises as `run` does, at the end.
        """
        began = self._context.now()
        body = submitting.order_of(input, {**options, "stream": True})
        job = yield from submitting.submit(self._context, tool, body, key=None, wait=0)
        left = None if timeout is None else timeout - (self._context.now() - began)
        return (yield from answer_of(job, left))

    @returning_job
    def job(self, id: str) -> Operation[AnyJob]:
        """The job of an id, also from another process."""
        request = request_of(self._context, "invocations_show", {"invocation_id": id})
        return self._context.job((yield from one(self._context, models.Invocation.of, request)), False)

    @streaming
    def map(
        self,
        tool: str,
        inputs: Iterable[object],
        *,
        ordered: bool = True,
        timeout: float | None = 300.0,
        in_flight: int = 100,
    ) -> Operation[Result]:
        """Run a tool on many inputs, in bounded memory. `timeout`: seconds to wait for each result."""
        run_many: Callable[..., Operation[Result]] = import_module("joyfull.bulk").run_many
        return (yield from run_many(self._context, tool, inputs, ordered=ordered, timeout=timeout, in_flight=in_flight))

    @operation
    def books(
        self,
        from_: datetime | None = None,
        to: datetime | None = None,
        *,
        save: Path | None = None,
        kept: Path | None = None,
    ) -> Operation[BooksReport]:
        """Recompute the bill from its rows: of the current period unless told otherwise.

        `save`: a directory to keep the rows in; a row of the past that has changed since raises ConfigurationError.
        `kept`: check rows that were saved, without asking the server.
        """
        read: Callable[..., Operation[BooksReport]] = import_module("joyfull.books_reading").books
        return (yield from read(self._context, from_, to, save, kept))

    @operation
    def logout(self) -> Operation[None]:
        """End the session, where the credentials are one; its access tokens are refused from now on."""
        credentials = self._driver.credentials
        if isinstance(credentials, Session):
            yield from credentials.forget(self._context)

    @operation
    def raw(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Operation[Response]:
        """Any request, with the same retries and errors; a POST is repeated when it has an Idempotency-Key."""
        sent = {**({} if json is None else {"Content-Type": "application/json"}), **(headers or {})}
        request = Request(
            method.upper(),
            path,
            wire.parameters(query or {}),
            tuple(sent.items()),
            None if json is None else wire.encode(json),
            timeout or self._context.timeout,
            repeatable=method.upper() != "POST" or "Idempotency-Key" in sent,
        )
        return raw(self._context, request)


def context_of(timeout: float, retries: int, journal: Path | None, server: str, suffix: str | None) -> Context:
    agent = f"joyfull-python/{VERSION} (API {API_VERSION})" + (f" {suffix}" if suffix else "")
    kept = import_module("joyfull.journal").Journal(journal, server) if journal else None
    if os.environ.get("JOYFULL_LOG", "").lower() == "debug":
        logging.basicConfig()
        logging.getLogger("joyfull").setLevel(logging.DEBUG)
    return Context(server=server, timeout=timeout, retries=retries, user_agent=agent, journal=kept)


class Client(ClientSurface, Synchronous):
    """The API, for programs with threads. One client serves all of them; close it, or use it in `with`.

    `timeout` is in seconds, for one request. `journal`: the file that `submit(name=...)` needs.
    """

    _driver: SyncDriver
    tools: Lazy[Tools] = Lazy("tools:Tools")
    invocations: Lazy[Invocations] = Lazy("invocations:Invocations")
    usage: Lazy[Usage] = Lazy("usage:Usage")
    webhooks: Lazy[Webhooks] = Lazy("webhooks:Webhooks")
    events: Lazy[Events] = Lazy("events:Events")
    account: Lazy[Account] = Lazy("account:Account")
    sessions: Lazy[Sessions] = Lazy("account:Sessions")
    keys: Lazy[Keys] = Lazy("keys:Keys")
    subscription: Lazy[Subscription] = Lazy("subscription:Subscription")
    schedules: Lazy[Schedules] = Lazy("schedules:Schedules")
    admin: Lazy[Admin] = Lazy("admin:Admin")
    platform: Lazy[Platform] = Lazy("platform:Platform")

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
        http: SyncHttp | None = None,
        user_agent_suffix: str | None = None,
    ) -> None:
        chosen = configuration.profile(profile)
        server = configuration.server(base_url, chosen)
        context = context_of(timeout, retries, journal, server, user_agent_suffix)
        credentials = configuration.credentials(api_key, session, chosen)
        driver = SyncDriver(context, credentials, SyncTransport(server, http))
        context.job = lambda invocation, replayed: Job(driver, invocation, replayed=replayed)
        super().__init__(driver)
        self.base_url = server

    def submit_many(self, orders: Iterable[BatchItem], *, in_flight: int = 1000) -> Iterator[Job | Refused]:
        """Submit many, a hundred in a request; at most `in_flight` are unfinished. In their order."""
        submit_many: Callable[..., Operation[Any]] = import_module("joyfull.bulk").submit_many
        return self._driver.iterate(submit_many(self._context, orders, in_flight))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Submitted jobs continue."""
        self._driver.transport.close()
