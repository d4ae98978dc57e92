"""One circuit breaker per tool (pybreaker), its state shared by all processes through Redis.

Closed: calls go through; five failures in a row open it. Open: for half a minute nobody calls; submits are told so,
and what is queued waits. Then exactly one call in the whole platform may try (half-open): its end decides.

Every process keeps a view of all breakers that is at most a second old, so asking costs nothing on the hot path. When
Redis is away, the view goes on as this process's own memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any
from uuid import UUID

import pybreaker

from common.errors import ToolUnavailable
from common.kit import clock, log, redis

logger = log.get(__name__)

FAIL_MAX = 5
REST_SECONDS = 30.0
VIEW_SECONDS = 1.0
OPEN, FAILURES = "breakers:open", "breakers:failures"


@dataclass(frozen=True, slots=True)
class State:
    """A breaker as admins see it. `retry_at`: from when on one call may try."""

    state: str
    failures: int
    opened_at: datetime | None
    retry_at: datetime | None


class _View:
    """What this process knows: when each open breaker was opened (epoch seconds), failures in a row, and until when
    (monotonic) to take it that somebody else is trying.
    """

    def __init__(self) -> None:
        self.opened: dict[str, float] = {}
        self.failures: dict[str, int] = {}
        self.tried_elsewhere: dict[str, float] = {}
        #: Moments are those of Redis: a process whose own clock is wrong must not close a tool to all others for hours.
        self.skew = 0.0
        self._read_at = -math.inf
        self._lock = Lock()
        self._trying = Lock()

    def fresh(self) -> _View:
        if clock.monotonic() - self._read_at > VIEW_SECONDS and self._lock.acquire(blocking=False):
            try:
                self._read_at = clock.monotonic()
                self._read()
            finally:
                self._lock.release()
        return self

    def _read(self) -> None:
        try:
            with redis.reachable():
                pipeline = redis.client().pipeline(transaction=False)
                pipeline.hgetall(OPEN)
                pipeline.hgetall(FAILURES)
                pipeline.time()
                opened, failures, (seconds, micros) = pipeline.execute()
        except redis.Unreachable:
            return
        self.skew = seconds + micros / 1e6 - clock.wall()
        self.opened = {tool: float(at) for tool, at in opened.items()}
        self.failures = {tool: int(count) for tool, count in failures.items()}
        if opened:
            self._read_tries(list(opened))

    def _read_tries(self, tools: list[str]) -> None:
        try:
            with redis.reachable():
                tries = redis.client().mget([_probe_key(tool) for tool in tools])
        except redis.Unreachable:
            return
        soon = clock.monotonic() + 2 * VIEW_SECONDS
        self.tried_elsewhere = {tool: soon for tool, tried in zip(tools, tries, strict=True) if tried}

    def try_alone(self, tool: str, seconds: float) -> bool:
        """Without Redis: whether this thread is the one of the process that tries."""
        with self._trying:
            if self.tried_elsewhere.get(tool, 0.0) > clock.monotonic():
                return False
            self.tried_elsewhere[tool] = clock.monotonic() + seconds
            return True

    def now(self) -> float:
        return clock.wall() + self.skew

    def forget(self) -> None:
        self.opened, self.failures, self.tried_elsewhere, self._read_at = {}, {}, {}, -math.inf


_view = _View()


class _Shared(pybreaker.CircuitBreakerStorage):
    """pybreaker's storage for one tool: reads from the view, writes to it and (best effort) to Redis."""

    def __init__(self, tool: str, *, may_probe: bool) -> None:
        super().__init__(tool)
        self.tool = tool
        self.probing = False
        self._may_probe = may_probe
        self._silent = False

    def excuses(self, error: BaseException) -> bool:
        """Whether an error is no failure of the tool. pybreaker takes every such error for a success, but one that
        says nothing about the tool (nothing was sent, the call was aborted, the database is away) must change nothing.
        """
        failed = bool(getattr(error, "counts_against_tool", False))
        self._silent = not failed and not getattr(error, "http_status", None)
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
            _quietly("hset", OPEN, self.tool, str(now))
            _quietly("delete", _probe_key(self.tool))
            logger.warning("breaker opened", tool_id=self.tool, rest_seconds=REST_SECONDS)

    def increment_counter(self) -> None:
        mine = _view.failures.get(self.tool, 0) + 1
        told = _quietly("hincrby", FAILURES, self.tool, 1)
        _view.failures[self.tool] = mine if told is None else int(told)

    def reset_counter(self) -> None:
        if not self._silent and _view.failures.pop(self.tool, 0):
            _quietly("hdel", FAILURES, self.tool)

    @property
    def counter(self) -> int:
        return _view.failures.get(self.tool, 0)

    @property
    def success_counter(self) -> int:
        return 0 if self._silent else 1  # one good probe is enough

    @property
    def opened_at(self) -> datetime | None:
        """Just now for whoever may not try: the view may have changed since it was asked, the permission has not."""
        long_ago = timedelta(seconds=REST_SECONDS + 1)  # as pybreaker's own clock has it
        return datetime.now(UTC) - long_ago if self._may_probe else datetime.now(UTC)

    @opened_at.setter
    def opened_at(self, _moment: datetime) -> None:
        """Kept together with the state."""


def _breaker(storage: _Shared) -> Any:
    return pybreaker.CircuitBreaker(
        fail_max=FAIL_MAX,
        reset_timeout=REST_SECONDS,
        exclude=[storage.excuses],
        state_storage=storage,
        throw_new_error_on_trip=False,
    )


@contextmanager
def calling(tool_id: UUID, seconds: float) -> Iterator[None]:
    """Around a call of this tool that takes at most `seconds` (so long a probe that dies keeps the next one waiting).

    An exception with a true `counts_against_tool` is a failure; another one with an `http_status` means that the tool
    is there; any other says nothing.

    Raises:
        ToolUnavailable: the breaker is open, or another call is the one that tries.
    """
    tool = str(tool_id)
    probe = tool in _view.fresh().opened
    if probe and not _may_probe(tool, seconds):
        raise _unavailable(tool_id)
    storage = _Shared(tool, may_probe=probe)
    try:
        with _breaker(storage).calling():
            yield
    except pybreaker.CircuitBreakerError as error:  # opened by somebody else in this moment
        raise _unavailable(tool_id) from error
    finally:
        if probe:
            _view.tried_elsewhere.pop(tool, None)
        if storage.probing:  # it ended without a verdict: the next call may try
            _quietly("delete", _probe_key(tool))


def _unavailable(tool_id: UUID) -> ToolUnavailable:
    return ToolUnavailable(retry_after=max(1, retry_after(tool_id)))


def _may_probe(tool: str, seconds: float) -> bool:
    if _rest(tool) > 0:
        return False
    try:
        with redis.reachable():
            mine = bool(redis.client().set(_probe_key(tool), "1", nx=True, ex=math.ceil(seconds) + 10))
            if mine and not _still_due(tool):
                redis.client().delete(_probe_key(tool))
                return tool not in _view.opened
    except redis.Unreachable:
        return _view.try_alone(tool, seconds)
    if not mine:
        _view.tried_elsewhere[tool] = clock.monotonic() + VIEW_SECONDS
    return mine


def _still_due(tool: str) -> bool:
    """Look again: another process's try may have ended since this one looked."""
    found = redis.client().hget(OPEN, tool)
    if found is None:
        _view.opened.pop(tool, None)
        return False
    _view.opened[tool] = float(found)
    return _rest(tool) == 0.0


def _probe_key(tool: str) -> str:
    return f"breakers:probe:{tool}"


def _rest(tool: str) -> float:
    """Seconds until a call may try; 0 when one may now."""
    opened = _view.fresh().opened.get(tool)
    return 0.0 if opened is None else max(0.0, opened + REST_SECONDS - _view.now())


def _quietly(command: str, *args: Any) -> Any:
    """A write to the shared state, best effort: the view has it already."""
    try:
        with redis.reachable():
            return getattr(redis.client(), command)(*args)
    except redis.Unreachable:
        return None


# -- for everybody else ----------------------------------------------------------------------------------------


def retry_after(tool_id: UUID) -> int:
    """0 when calls are let through (closed, or due for a try); otherwise seconds to wait, at most 60."""
    return min(60, math.ceil(_rest(str(tool_id))))


def open_tools() -> list[UUID]:
    """The tools that rest now, or that somebody else is trying: what is queued for them waits."""
    return [UUID(tool) for tool in list(_view.fresh().opened) if _rest(tool) > 0 or _tried_elsewhere(tool)]


def _tried_elsewhere(tool: str) -> bool:
    """Otherwise everything that waits for this tool would be taken and given back for as long as the try lasts."""
    return _view.tried_elsewhere.get(tool, 0.0) > clock.monotonic()


def state(tool_id: UUID) -> State:
    """What an admin sees."""
    tool = str(tool_id)
    failures = _view.fresh().failures.get(tool, 0)
    opened = _view.opened.get(tool)
    if opened is None:
        return State("closed", failures, None, None)
    word = "open" if _rest(tool) > 0 else "half_open"
    return State(
        word, failures, datetime.fromtimestamp(opened, UTC), datetime.fromtimestamp(opened + REST_SECONDS, UTC)
    )


def close(tool_id: UUID) -> None:
    """Close a breaker and forget its failures: a good probe, or an admin's reset."""
    tool = str(tool_id)
    _view.opened.pop(tool, None)
    _view.failures.pop(tool, None)
    _quietly("hdel", OPEN, tool)
    _quietly("hdel", FAILURES, tool)
    _quietly("delete", _probe_key(tool))


def forget() -> None:
    """Drop this process's view (tests that wipe Redis, and processes that connect elsewhere)."""
    _view.forget()
