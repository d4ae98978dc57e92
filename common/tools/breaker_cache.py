"""A process's cached copy of all circuit breaker states, at most a second old."""

from __future__ import annotations

import math
import re
from threading import Lock

from common.kit import clock, redis

VIEW_SECONDS = 1.0
OPEN, FAILURES = "breakers:open", "breakers:failures"
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NUMBER = re.compile(r"\d+(\.\d+)?")


def probe_key(tool: str) -> str:
    """The Redis key that marks a running probe."""
    return f"breakers:probe:{tool}"


class StateCache:
    """This process's cached state.

    `opened`: when each open breaker was opened (Unix time); `failures`: consecutive failures; `probed_elsewhere`: until
    when (monotonic) to assume that another caller is probing.
    """

    def __init__(self) -> None:
        self.opened: dict[str, float] = {}
        self.failures: dict[str, int] = {}
        self.probed_elsewhere: dict[str, float] = {}
        #: Redis's clock minus ours. Times are Redis's, so that one wrong clock cannot block a tool for everyone.
        self.skew = 0.0
        self._read_at = -math.inf
        self._lock = Lock()
        self._probing = Lock()

    def fresh(self) -> StateCache:
        """Refresh from Redis if older than `VIEW_SECONDS`; one thread at a time, the others do not wait."""
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
        except redis.RedisUnreachable:
            return
        self.skew = seconds + micros / 1e6 - clock.wall()
        self.opened = {tool: float(at) for tool, at in opened.items() if _is_ours(tool, at)}
        self.failures = {tool: int(count) for tool, count in failures.items() if _is_ours(tool, count)}
        if self.opened:
            self._read_probes(list(self.opened))

    def _read_probes(self, tools: list[str]) -> None:
        try:
            with redis.reachable():
                pipeline = redis.client().pipeline(transaction=False)
                for tool in tools:
                    pipeline.get(probe_key(tool))
                probes = pipeline.execute()
        except redis.RedisUnreachable:
            return
        soon = clock.monotonic() + 2 * VIEW_SECONDS
        self.probed_elsewhere = {tool: soon for tool, probed in zip(tools, probes, strict=True) if probed}

    def probe_locally(self, tool: str, seconds: float) -> bool:
        """Without Redis: whether this thread is the one in this process that may probe."""
        with self._probing:
            if self.probed_elsewhere.get(tool, 0.0) > clock.monotonic():
                return False
            self.probed_elsewhere[tool] = clock.monotonic() + seconds
            return True

    def now(self) -> float:
        """Redis's clock (Unix time)."""
        return clock.wall() + self.skew


def _is_ours(tool: str, number: str) -> bool:
    """Whether that can be read: what somebody else has written there stops no tool but its own."""
    return bool(_UUID.fullmatch(tool) and _NUMBER.fullmatch(number))
