"""Everything that this package raises. The classes of problems are in `joyfull.problems`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from joyfull.job import AnyJob
    from joyfull.models import InvocationError

__all__ = [
    "BadResponse", "ConfigurationError", "ConnectionFailed", "CostExceeded", "CredentialUnavailable",
    "InvocationCanceled", "InvocationEnded", "InvocationExpired", "InvocationFailed", "JoyfullError",
    "NameReused", "OutcomeUnknown", "OutputRejected", "OutputTooLarge", "SessionEnded", "SignatureError", "Timeout",
    "ToolBadResponse", "ToolError", "ToolFailed", "ToolTimeout", "ToolUnreachable", "WaitTimeout", "WorkerLost",
    "ended",
]  # fmt: skip


class JoyfullError(Exception):
    """What every error of this package is."""


class ConfigurationError(JoyfullError):
    """The client cannot be used as it was set up. Nothing was sent."""


class ConnectionFailed(JoyfullError):
    """No response. `sent` is False where the request surely did not reach the server."""

    def __init__(self, detail: str, sent: bool = True) -> None:
        self.sent = sent
        super().__init__(detail, sent)

    def __str__(self) -> str:
        return str(self.args[0])


class Timeout(ConnectionFailed):
    """No response in time."""


class SessionEnded(JoyfullError):
    """The session was ended or is too old, and there is no password to begin another with."""


class BadResponse(JoyfullError):
    """The answer is not what the API sends: something else answers at this address, or on the way to it."""


class OutcomeUnknown(JoyfullError):
    """A change was sent and its answer was lost: it may or may not have been made.

    `idempotency_key` is set where repeating the call with this key is safe.
    """

    def __init__(self, detail: str, idempotency_key: str | None = None) -> None:
        self.idempotency_key = idempotency_key
        super().__init__(detail, idempotency_key)

    def __str__(self) -> str:
        return str(self.args[0])


class NameReused(JoyfullError):
    """This name was given to another submit (another tool, or another body). Nothing was sent."""


class SignatureError(JoyfullError):
    """A webhook is not signed with this secret, or not now."""


class WaitTimeout(JoyfullError):
    """The time given for waiting is over. The work goes on: `job` can be waited for again."""

    def __init__(self, job: AnyJob) -> None:
        self.job: Any = job  # a Job, or an AsyncJob: of the client that raised it
        super().__init__(job)

    def __str__(self) -> str:
        return f"invocation {self.job.id} is still {self.job.status}; it continues"


class InvocationEnded(JoyfullError):
    """The invocation ended without an output."""

    def __init__(self, job: AnyJob) -> None:
        self.job: Any = job  # a Job, or an AsyncJob: of the client that raised it
        super().__init__(job)

    def __str__(self) -> str:
        return f"invocation {self.job.id} {self.job.status}"


class InvocationCanceled(InvocationEnded):
    """It was canceled."""


class InvocationExpired(InvocationEnded):
    """Its deadline passed before it started."""


class InvocationFailed(InvocationEnded):
    """The tool brought no result. One subclass for each code; one that is not known raises this class."""

    code = ""

    @property
    def error(self) -> InvocationError | None:
        """The code and what happened."""
        return cast("InvocationError | None", self.job.error)

    def __str__(self) -> str:
        error = self.error
        return f"{super().__str__()}: {error.code}: {error.detail}" if error else super().__str__()


class ToolError(InvocationFailed):
    """The tool refused the call (4xx)."""

    code = "tool_error"


class ToolFailed(InvocationFailed):
    """The tool failed (5xx)."""

    code = "tool_failed"


class ToolTimeout(InvocationFailed):
    """The tool did not answer in time."""

    code = "tool_timeout"


class ToolUnreachable(InvocationFailed):
    """The tool could not be reached."""

    code = "tool_unreachable"


class ToolBadResponse(InvocationFailed):
    """The tool's answer could not be used."""

    code = "tool_bad_response"


class OutputTooLarge(InvocationFailed):
    """The tool's answer is larger than the platform takes."""

    code = "output_too_large"


class OutputRejected(InvocationFailed):
    """The output does not fit the tool's `output_schema`."""

    code = "output_rejected"


class CredentialUnavailable(InvocationFailed):
    """The platform's credential for the tool could not be used."""

    code = "credential_unavailable"


class WorkerLost(InvocationFailed):
    """The process that ran it was lost, and it cannot be run again."""

    code = "worker_lost"


class CostExceeded(InvocationFailed):
    """The call cost more than `max_tokens`; what was held is charged."""

    code = "cost_exceeded"


ENDS: dict[str, type[InvocationEnded]] = {"canceled": InvocationCanceled, "expired": InvocationExpired}
FAILURES = {kind.code: kind for kind in InvocationFailed.__subclasses__()}


def ended(job: AnyJob) -> InvocationEnded:
    """The error for an invocation that ended otherwise than succeeded."""
    if job.status in ENDS:
        return ENDS[job.status](job)
    return FAILURES.get(job.error.code if job.error else "", InvocationFailed)(job)
