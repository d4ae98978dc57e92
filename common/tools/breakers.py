"""One circuit breaker per tool, with pybreaker's interface; its state is shared by all processes through Redis.

Closed: calls go through; five consecutive failures open the breaker. Open: no calls for 30 seconds; submits are refused
and queued invocations wait. Half-open: exactly one call on the whole platform, the probe, is let through and decides.

Every process caches the state of all breakers for at most one second, so the hot path makes no request to Redis. While
Redis is unavailable, the cache serves as the process's own state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

import pybreaker

from common.errors import ToolUnavailable
from common.kit import clock, failpoints, log, memory, redis
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


_view = memory.Part(StateCache)


class ToolBreaker(pybreaker.CircuitBreaker):
    """pybreaker's interface to the breaker of one tool.

    pybreaker itself decides in one process, by that process's clock. Here the state is the platform's, times are those
    of Redis's clock, and the permission to probe is a key in Redis.
    """

    def __init__(self, tool: str) -> None:
        self._tool = tool
        super().__init__(FAIL_MAX, RESET_SECONDS, name=tool)

    @property
    def current_state(self) -> str:
        """One of pybreaker's names; half-open: a probe is allowed or under way."""
        if self._tool not in _view().fresh().opened:
            return str(pybreaker.STATE_CLOSED)
        return str(pybreaker.STATE_OPEN if _wait(self._tool) > 0 else pybreaker.STATE_HALF_OPEN)

    @property
    def fail_counter(self) -> int:
        """Consecutive failures on the whole platform."""
        return _view().fresh().failures.get(self._tool, 0)

    def is_system_error(self, exception: BaseException) -> bool:
        """Whether an error is the tool's failure. The caller's own errors are not."""
        return bool(getattr(exception, "counts_against_tool", False))

    def open(self) -> bool:
        """Refuse calls for `RESET_SECONDS` from now. An error that opens the breaker is not replaced by pybreaker's."""
        _view().opened[self._tool] = now = _view().now()
        _write("hset", OPEN, self._tool, str(now))
        logger.warning("circuit breaker opened", tool_id=self._tool, retry_seconds=RESET_SECONDS)
        return False

    def close(self) -> None:
        """Let calls through, and forget all failures."""
        _view().opened.pop(self._tool, None)
        _view().failures.pop(self._tool, None)
        _write("hdel", OPEN, self._tool)
        _write("hdel", FAILURES, self._tool)
        _write("delete", probe_key(self._tool))

    @contextmanager
    def calling(self, seconds: float = RESET_SECONDS) -> Iterator[None]:
        """Guard a call that takes at most `seconds`. Raises `pybreaker.CircuitBreakerError`."""
        owner, good = _enter(self._tool, seconds), None
        failpoints.at("breaker.after_look")
        try:
            yield
            good = True
        except BaseException as error:
            good = self._verdict(error)
            raise
        finally:
            probe = owner is not None and not _is_anothers(self._tool, owner)
            if good is not None:
                self._ended(good=good, probe=probe)
            if owner is not None and probe:
                _view().probed_elsewhere.pop(self._tool, None)
                _release(self._tool, owner)

    def _verdict(self, error: BaseException) -> bool | None:
        """Whether the tool worked. None: the error says nothing about it (nothing sent, aborted, database away)."""
        if self.is_system_error(error):
            return False
        return True if getattr(error, "http_status", None) else None

    def _ended(self, *, good: bool, probe: bool) -> None:
        """The state machine: what the end of a call does to the breaker."""
        if good and probe:
            self.close()
        elif good and _view().failures.pop(self._tool, 0):
            _write("hdel", FAILURES, self._tool)
        elif not good and ((_failures(self._tool) >= FAIL_MAX and self._tool not in _view().opened) or probe):
            self.open()


@lru_cache(maxsize=2_000)
def _breaker(tool: str) -> ToolBreaker:
    return ToolBreaker(tool)


@contextmanager
def calling(tool_id: UUID, seconds: float) -> Iterator[None]:
    """Guard a call that takes at most `seconds` (a probe whose process dies blocks the next one for that long).

    An exception with a true `counts_against_tool` counts as a failure, one with an `http_status` as a success; any
    other leaves the breaker unchanged.

    Raises:
        ToolUnavailable: the breaker is open, or another call is probing.
    """
    try:
        with _breaker(str(tool_id)).calling(seconds):
            yield
    except pybreaker.CircuitBreakerError as error:
        raise ToolUnavailable(retry_after=max(1, retry_after(tool_id))) from error


def _failures(tool: str) -> int:
    """Count one more; returns the number of consecutive failures on the whole platform."""
    mine = _view().failures.get(tool, 0) + 1
    shared = _write("hincrby", FAILURES, tool, 1)
    _view().failures[tool] = mine if shared is None else int(shared)
    return _view().failures[tool]


def _enter(tool: str, seconds: float) -> str | None:
    """The name of this call as the probe of an open breaker; None: it is an ordinary one.

    Raises `pybreaker.CircuitBreakerError`.
    """
    if tool not in _view().fresh().opened:
        return None
    owner = str(uuid4())
    if _wait(tool) == 0.0:
        try:
            with redis.reachable():
                if (probe := _ask_for_probe(tool, owner, seconds)) is not None:
                    return owner if probe else None
        except redis.RedisUnreachable:
            if _view().probe_locally(tool, seconds):
                return owner
    raise pybreaker.CircuitBreakerError("the breaker is open")


def _ask_for_probe(tool: str, owner: str, seconds: float) -> bool | None:
    """Whether this call is the probe; False: the breaker is closed now; None: another call probes, or has failed."""
    if not redis.client().set(probe_key(tool), owner, nx=True, ex=math.ceil(seconds) + 10):
        _view().probed_elsewhere[tool] = clock.monotonic() + VIEW_SECONDS
        return None
    opened = redis.client().hget(OPEN, tool)  # again: another process's probe may have ended since
    if opened is not None:
        _view().opened[tool] = float(opened)
        if _wait(tool) == 0.0:
            return True
    else:
        _view().opened.pop(tool, None)
    _release(tool, owner)
    return None if opened is not None else False


def _is_anothers(tool: str, owner: str) -> bool:
    """Whether another call probes instead: this one took longer than expected, and says no more than any other."""
    return _write("get", probe_key(tool)) not in (None, owner)


def _release(tool: str, owner: str) -> None:
    """Let others probe. Best effort: the key expires."""
    with suppress(redis.RedisUnreachable):
        redis.run("unlock", [probe_key(tool)], [owner])


def _wait(tool: str) -> float:
    """Seconds until a probe is allowed; 0 if it is now, or if the breaker is closed."""
    opened = _view().fresh().opened.get(tool)
    return 0.0 if opened is None else max(0.0, opened + RESET_SECONDS - _view().now())


def _write(command: str, *args: object) -> Any:  # Any: Redis answers each command in another type
    """Write to the shared state, best effort: the cache has the change already."""
    try:
        with redis.reachable():
            return getattr(redis.client(), command)(*args)
    except redis.RedisUnreachable:
        return None


# -- queries and resets -----------------------------------------------------------------------------------------


def retry_after(tool_id: UUID) -> int:
    """Seconds to wait, at most 60; 0 when a call is allowed (closed, or due for a probe)."""
    return min(60, math.ceil(_wait(str(tool_id))))


def open_tools() -> list[UUID]:
    """Tools whose breaker is open or being probed by another caller: their queued invocations wait."""
    return [UUID(tool) for tool in list(_view().fresh().opened) if _wait(tool) > 0 or _probed_elsewhere(tool)]


def _probed_elsewhere(tool: str) -> bool:
    """Without this, queued invocations would be claimed and released over and over during a probe."""
    return _view().probed_elsewhere.get(tool, 0.0) > clock.monotonic()


def state(tool_id: UUID) -> BreakerState:
    """The breaker of a tool, for admins."""
    breaker = _breaker(str(tool_id))
    opened = _view().opened.get(str(tool_id))
    if opened is None:
        return BreakerState("closed", breaker.fail_counter, None, None)
    word = breaker.current_state.replace("-", "_")
    times = (datetime.fromtimestamp(at, UTC) for at in (opened, opened + RESET_SECONDS))
    return BreakerState(word, breaker.fail_counter, *times)


def close(tool_id: UUID) -> None:
    """Close a breaker and clear its failures, on an admin's reset."""
    _breaker(str(tool_id)).close()
