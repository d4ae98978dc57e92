"""One circuit breaker per tool (pybreaker); its state is shared by all processes through Redis.

Closed: calls go through; five consecutive failures open the breaker. Open: no calls for 30 seconds; submits are refused
and queued invocations wait. Half-open: exactly one call on the whole platform, the probe, is let through and decides.

Every process caches the state of all breakers for at most one second, so the hot path makes no request to Redis. While
Redis is unavailable, the cache serves as the process's own state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pybreaker

from common.errors import ToolUnavailable
from common.kit import clock, failpoints, log, redis
from common.tools.breaker_cache import FAILURES, OPEN, VIEW_SECONDS, StateCache, probe_key

logger = log.get(__name__)

FAIL_MAX = 5
RESET_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class BreakerState:
    """A breaker as shown to admins. `retry_at`: when a probe is allowed."""

    state: str
    failures: int
    opened_at: datetime | None
    retry_at: datetime | None


_view = StateCache()


class _Shared(pybreaker.CircuitBreakerStorage):
    """pybreaker's storage for one tool: reads from the cache, writes to the cache and (best effort) to Redis."""

    def __init__(self, tool: str, *, may_probe: bool) -> None:
        super().__init__(tool)
        self.tool = tool
        self.probing = False
        self._may_probe = may_probe
        self._inconclusive = False

    def is_excluded(self, error: BaseException) -> bool:
        """Whether an error is not the tool's failure. pybreaker counts every such error as a success, but an error
        that says nothing about the tool (nothing sent, call aborted, database unavailable) must not change the state.
        """
        failed = bool(getattr(error, "counts_against_tool", False))
        self._inconclusive = not failed and not getattr(error, "http_status", None)
        return not failed

    @property
    def state(self) -> str:
        if self.tool not in _view.fresh().opened:
            return str(pybreaker.STATE_CLOSED)
        return str(pybreaker.STATE_HALF_OPEN if self.probing else pybreaker.STATE_OPEN)

    @state.setter
    def state(self, state: str) -> None:
        self.probing = state == pybreaker.STATE_HALF_OPEN
        if state == pybreaker.STATE_CLOSED:
            close(UUID(self.tool))
        elif state == pybreaker.STATE_OPEN:
            _view.opened[self.tool] = now = _view.now()
            _write("hset", OPEN, self.tool, str(now))
            _write("delete", probe_key(self.tool))
            logger.warning("circuit breaker opened", tool_id=self.tool, retry_seconds=RESET_SECONDS)

    def increment_counter(self) -> None:
        mine = _view.failures.get(self.tool, 0) + 1
        shared = _write("hincrby", FAILURES, self.tool, 1)
        _view.failures[self.tool] = mine if shared is None else int(shared)

    def reset_counter(self) -> None:
        if not self._inconclusive and _view.failures.pop(self.tool, 0):
            _write("hdel", FAILURES, self.tool)

    @property
    def counter(self) -> int:
        return _view.failures.get(self.tool, 0)

    @property
    def success_counter(self) -> int:
        return 0 if self._inconclusive else 1  # one successful probe closes the breaker

    @property
    def opened_at(self) -> datetime | None:
        """Now, unless this caller may probe: the cached state may have changed since, the permission has not."""
        long_ago = timedelta(seconds=RESET_SECONDS + 1)  # pybreaker compares with its own clock
        return datetime.now(UTC) - long_ago if self._may_probe else datetime.now(UTC)

    @opened_at.setter
    def opened_at(self, _moment: datetime) -> None:
        """Ignored: stored together with the state."""


def _breaker(storage: _Shared) -> Any:
    return pybreaker.CircuitBreaker(
        fail_max=FAIL_MAX,
        reset_timeout=RESET_SECONDS,
        exclude=[storage.is_excluded],
        state_storage=storage,
        throw_new_error_on_trip=False,
    )


@contextmanager
def calling(tool_id: UUID, seconds: float) -> Iterator[None]:
    """Guard a call that takes at most `seconds` (a probe whose process dies blocks the next one for that long).

    An exception with a true `counts_against_tool` counts as a failure, one with an `http_status` as a success; any
    other leaves the breaker unchanged.

    Raises:
        ToolUnavailable: the breaker is open, or another call is probing.
    """
    tool = str(tool_id)
    probe = tool in _view.fresh().opened
    if probe and not _may_probe(tool, seconds):
        raise _unavailable(tool_id)
    storage = _Shared(tool, may_probe=probe)
    failpoints.at("breaker.after_look")
    try:
        with _breaker(storage).calling():
            yield
    except pybreaker.CircuitBreakerError as error:  # opened by another call in the meantime
        raise _unavailable(tool_id) from error
    finally:
        if probe:
            _view.probed_elsewhere.pop(tool, None)
        if storage.probing:  # ended without a result: allow the next probe
            _write("delete", probe_key(tool))


def _unavailable(tool_id: UUID) -> ToolUnavailable:
    return ToolUnavailable(retry_after=max(1, retry_after(tool_id)))


def _may_probe(tool: str, seconds: float) -> bool:
    if _wait(tool) > 0:
        return False
    try:
        with redis.reachable():
            mine = bool(redis.client().set(probe_key(tool), "1", nx=True, ex=math.ceil(seconds) + 10))
            if mine and not _still_due(tool):
                redis.client().delete(probe_key(tool))
                return tool not in _view.opened
    except redis.Unreachable:
        return _view.probe_locally(tool, seconds)
    if not mine:
        _view.probed_elsewhere[tool] = clock.monotonic() + VIEW_SECONDS
    return mine


def _still_due(tool: str) -> bool:
    """Check again: another process's probe may have ended since."""
    found = redis.client().hget(OPEN, tool)
    if found is None:
        _view.opened.pop(tool, None)
        return False
    _view.opened[tool] = float(found)
    return _wait(tool) == 0.0


def _wait(tool: str) -> float:
    """Seconds until a probe is allowed; 0 if it is now, or if the breaker is closed."""
    opened = _view.fresh().opened.get(tool)
    return 0.0 if opened is None else max(0.0, opened + RESET_SECONDS - _view.now())


def _write(command: str, *args: Any) -> Any:
    """Write to the shared state, best effort: the cache has the change already."""
    try:
        with redis.reachable():
            return getattr(redis.client(), command)(*args)
    except redis.Unreachable:
        return None


# -- queries and resets -----------------------------------------------------------------------------------------


def retry_after(tool_id: UUID) -> int:
    """Seconds to wait, at most 60; 0 when a call is allowed (closed, or due for a probe)."""
    return min(60, math.ceil(_wait(str(tool_id))))


def open_tools() -> list[UUID]:
    """Tools whose breaker is open or being probed by another caller: their queued invocations wait."""
    return [UUID(tool) for tool in list(_view.fresh().opened) if _wait(tool) > 0 or _probed_elsewhere(tool)]


def _probed_elsewhere(tool: str) -> bool:
    """Without this, queued invocations would be claimed and released over and over during a probe."""
    return _view.probed_elsewhere.get(tool, 0.0) > clock.monotonic()


def state(tool_id: UUID) -> BreakerState:
    """The breaker of a tool, for admins."""
    tool = str(tool_id)
    failures = _view.fresh().failures.get(tool, 0)
    opened = _view.opened.get(tool)
    if opened is None:
        return BreakerState("closed", failures, None, None)
    word = "open" if _wait(tool) > 0 else "half_open"
    return BreakerState(
        word, failures, datetime.fromtimestamp(opened, UTC), datetime.fromtimestamp(opened + RESET_SECONDS, UTC)
    )


def close(tool_id: UUID) -> None:
    """Close a breaker and clear its failures: after a successful probe, or on an admin's reset."""
    tool = str(tool_id)
    _view.opened.pop(tool, None)
    _view.failures.pop(tool, None)
    _write("hdel", OPEN, tool)
    _write("hdel", FAILURES, tool)
    _write("delete", probe_key(tool))


def forget() -> None:
    """Drop this process's cache (for tests that wipe Redis, and processes that connect elsewhere)."""
    _view.forget()
