"""A job: one invocation, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from joyfull import models
from joyfull.errors import ConfigurationError, ended
from joyfull.exchange import Operation
from joyfull.problems import ApiError
from joyfull.resource import one, request_of
from joyfull.surface import Asynchronous, Driven, Surface, Synchronous, answering, operation, streaming, submitting
from joyfull.waiting import ENDS, wait_for_end

if TYPE_CHECKING:
    from joyfull.answers import Part


class AnyJob(Surface):
    """What both kinds of job have. `invocation` is what was last heard."""

    def __init__(self, driver: Driven | None, invocation: models.Invocation, *, replayed: bool = False) -> None:
        self._maybe_driver = driver
        self.invocation = invocation
        #: Whether the submit repeated an earlier one, which this is.
        self.replayed = replayed

    @property
    def _driver(self) -> Driven:  # type: ignore[override]
        if self._maybe_driver is None:
            raise ConfigurationError("this job came from another process: use client.job(job.id)")
        return self._maybe_driver

    def __reduce__(self) -> tuple[type[AnyJob], tuple[None, models.Invocation]]:
        return type(self), (None, self.invocation)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status}>"

    @property
    def id(self) -> str:
        """The id of the invocation."""
        return self.invocation.id

    @property
    def status(self) -> str:
        """`queued`, `running`, or one of the ends: `succeeded`, `failed`, `canceled`, `expired`."""
        return self.invocation.status

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.status in ENDS

    @property
    def output(self) -> Any:
        """What the tool brought; None before the end."""
        return self.invocation.output

    @property
    def error(self) -> models.InvocationError | None:
        """Why it failed."""
        return self.invocation.error

    @property
    def billing(self) -> models.Billing:
        """What is held and charged, in tokens."""
        return self.invocation.billing

    @property
    def attempts(self) -> int:
        """How often the tool was called."""
        return self.invocation.attempts

    @property
    def request_id(self) -> str:
        """The id of the request that submitted it."""
        return self.invocation.request_id

    @property
    def created_at(self) -> datetime:
        """When it was accepted."""
        return self.invocation.created_at

    def _request(self, name: str) -> Operation[models.Invocation]:
        request = request_of(self._context, name, {"invocation_id": self.id})
        found: models.Invocation = yield from one(self._context, models.Invocation.of, request)
        self.invocation = found
        return found

    @submitting
    def refresh(self) -> Operation[AnyJob]:
        """Read it again."""
        yield from self._request("invocations_show")
        return self

    @submitting
    def cancel(self) -> Operation[AnyJob]:
        """Cancel it: a queued one ends at once, a running one when its tool lets it. Raises AlreadyFinished."""
        try:
            yield from self._request("invocations_cancel")
        except ApiError as error:
            if error.code != "already_finished":
                raise
            yield from self._request("invocations_show")
            if self.status != "canceled":  # canceled: by an earlier attempt, whose answer was lost
                raise
        return self

    @operation
    def wait(
        self, timeout: float | None = 300.0, *, on_change: Callable[[models.Invocation], None] | None = None
    ) -> Operation[models.Invocation]:
        """Wait for the end, whichever it is; seconds, None for ever. Raises WaitTimeout; cancels nothing."""
        self.invocation = yield from wait_for_end(self._context, self.invocation, timeout, on_change)
        return self.invocation

    @operation
    def result(self, timeout: float | None = 300.0) -> Operation[Any]:
        """Wait for the output. Raises WaitTimeout, or InvocationFailed, InvocationCanceled, InvocationExpired."""
        return (yield from output_of(self, timeout))

    @streaming
    def events(self, last_event_id: str | None = None) -> Operation[models.Invocation]:
        """Every state from now on, each once, until the end."""
        states_of: Callable[..., Operation[models.Invocation]] = import_module("joyfull.following").states_of
        return (yield from states_of(self._context, self.id, last_event_id))

    @answering
    def stream(self, timeout: float | None = 300.0) -> Operation[Part | AnyJob]:
        """The answer while it is made, from its beginning; the output of this job is the whole. Raises as `result`."""
        return (yield from answer_of(self, timeout))


class Job(AnyJob, Synchronous):
    """A job of a `Client`."""


class AsyncJob(AnyJob, Asynchronous):
    """A job of an `AsyncClient`: everything that asks the API is awaited."""


def output_of(job: AnyJob, timeout: float | None) -> Operation[Any]:
    """The output of a job, when it has one."""
    job.invocation = yield from wait_for_end(job._context, job.invocation, timeout)
    if job.status != "succeeded":
        raise ended(job)
    return job.output


def answer_of(job: AnyJob, timeout: float | None) -> Operation[AnyJob]:
    """Emits the job and the parts of its answer, whatever was missed of them on the way."""
    emit_answer: Callable[..., Operation[AnyJob]] = import_module("joyfull.following").answer_of
    return (yield from emit_answer(job, timeout))
