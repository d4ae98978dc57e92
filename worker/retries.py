"""The retry policy of failed calls, as pure functions."""

from __future__ import annotations

from typing import Protocol

from common.kit.clock import jitter

MAX_BACKOFF = 60.0
MIN_RETRY_AFTER, MAX_RETRY_AFTER = 1.0, 3600.0
JITTER = 0.2
TOO_MANY_REQUESTS = 429


class Failure(Protocol):
    """A failed call. `sent`: the tool may have executed it; `retry_after`: the delay in seconds that it requested."""

    @property
    def transient(self) -> bool:
        """Whether another attempt may succeed."""

    @property
    def sent(self) -> bool:
        """False only when the tool certainly did not run."""

    @property
    def http_status(self) -> int | None: ...
    @property
    def retry_after(self) -> float | None: ...


def delay(attempt: int, failure: Failure, *, max_attempts: int, idempotent: bool) -> float | None:
    """Seconds until the next attempt after the `attempt`-th (counted from 1), or None for no further attempt.

    A non-idempotent tool is called again only if it certainly did not run: nothing was sent, or it answered 429.
    """
    not_executed = not failure.sent or failure.http_status == TOO_MANY_REQUESTS
    if attempt >= max_attempts or not failure.transient or not (idempotent or not_executed):
        return None
    if failure.retry_after is not None:
        return _requested_delay(failure.retry_after)
    return min(jitter(2.0 ** min(attempt - 1, 10), JITTER), MAX_BACKOFF)


def _requested_delay(seconds: float) -> float:
    """The delay that the tool requested, up to an hour, plus jitter: never sooner than requested."""
    requested = min(max(seconds, MIN_RETRY_AFTER), MAX_RETRY_AFTER)
    return min(requested + abs(jitter(requested, JITTER) - requested), MAX_RETRY_AFTER)
