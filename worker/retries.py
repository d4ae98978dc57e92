"""Whether and when a failed attempt is followed by another: pure, so that every rule can be read and tested."""

from __future__ import annotations

from typing import Protocol

from common.kit.clock import jitter

MAX_BACKOFF = 60.0
MIN_RETRY_AFTER, MAX_RETRY_AFTER = 1.0, 3600.0
JITTER = 0.2
TOO_MANY_REQUESTS = 429


class Failure(Protocol):
    """What has to be known of a failure. `sent`: the tool may have executed; `retry_after`: seconds it asked for."""

    @property
    def transient(self) -> bool: ...
    @property
    def sent(self) -> bool: ...
    @property
    def http_status(self) -> int | None: ...
    @property
    def retry_after(self) -> float | None: ...


def delay(attempt: int, failure: Failure, *, max_attempts: int, idempotent: bool) -> float | None:
    """Seconds until the attempt after the `attempt`-th (from 1), or None when there is none.

    A tool that is not idempotent is called again only when it surely did not run: nothing reached it, or it said 429.
    """
    surely_not_run = not failure.sent or failure.http_status == TOO_MANY_REQUESTS
    if attempt >= max_attempts or not failure.transient or not (idempotent or surely_not_run):
        return None
    if failure.retry_after is not None:
        return _honoured(failure.retry_after)
    return min(jitter(2.0 ** min(attempt - 1, 10), JITTER), MAX_BACKOFF)


def _honoured(seconds: float) -> float:
    """What the tool asked for, an hour at most; never sooner, and a little later, so that a crowd spreads out."""
    asked = min(max(seconds, MIN_RETRY_AFTER), MAX_RETRY_AFTER)
    return min(asked + abs(jitter(asked, JITTER) - asked), MAX_RETRY_AFTER)
