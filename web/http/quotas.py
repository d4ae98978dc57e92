"""Quotas of requests per account and minute over all processes: 6,000 reads of the API, 600 requests of the console.

A process takes requests from Redis in small allowances, smaller the fewer are left, so a request rarely costs a round
trip and the total never exceeds the quota. While Redis is unreachable each process counts on its own: none is refused
for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from common.kit import redis
from common.kit.pause import Pause

READS_PER_MINUTE = 6000
WINDOW = 60
#: An allowance is at most this fraction (1/n) of what is left, and at most `MAX_ALLOWANCE`.
ALLOWANCE_SHARE = 50
MAX_ALLOWANCE = 100
#: Seconds without calls to Redis after a failure: a hung server must not cost every read its timeout.
REDIS_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A limit of the caller: `quota` per `window` seconds, `remaining` of it left, full again in `reset` seconds."""

    name: str
    quota: int
    window: int
    remaining: int
    reset: int


@dataclass(slots=True)
class _Allowance:
    """`left`: reads that this process may still serve to one account; `taken`: those taken by all processes."""

    left: int = 0
    taken: int = 0


class ReadQuota:
    """Counts the requests of all accounts in the current minute, as known to this process; `name` is their kind."""

    def __init__(self, quota: int = READS_PER_MINUTE, name: str = "reads") -> None:
        self.quota, self.name = quota, name
        self._window = 0
        self._allowances: dict[UUID, _Allowance] = {}
        self._pause = Pause(REDIS_PAUSE)

    def take(self, account: UUID, now: float) -> tuple[RateLimit, bool]:
        """Count a read of `account` at `now` (seconds since 1970); returns the limit and whether it is allowed."""
        allowance = self._allowance(account, now)
        if not allowance.left and allowance.taken < self.quota:
            self._extend(allowance, account, self._window)
        allowed = allowance.left > 0
        allowance.left -= allowed
        return self._limit(allowance, now), allowed

    def state(self, account: UUID, now: float) -> RateLimit:
        """The limit of `account` as known to this process; counts nothing."""
        return self._limit(self._allowance(account, now), now)

    def _allowance(self, account: UUID, now: float) -> _Allowance:
        window = int(now) // WINDOW
        if window != self._window:
            self._window, self._allowances = window, {}
        return self._allowances.setdefault(account, _Allowance())

    def _limit(self, allowance: _Allowance, now: float) -> RateLimit:
        remaining = max(0, self.quota - allowance.taken) + allowance.left
        return RateLimit(self.name, self.quota, WINDOW, remaining, WINDOW - int(now) % WINDOW)

    def _extend(self, allowance: _Allowance, account: UUID, window: int) -> None:
        want = max(1, min(MAX_ALLOWANCE, (self.quota - allowance.taken) // ALLOWANCE_SHARE))
        try:
            allowance.taken = self._add(f"{self.name}:{{{account}}}:{window}", want)
        except redis.RedisUnreachable:
            allowance.taken += want
        allowance.left += max(0, want - max(0, allowance.taken - self.quota))

    def _add(self, key: str, want: int) -> int:
        if self._pause.active():
            raise redis.RedisUnreachable("not called: it failed a moment ago")
        try:
            with redis.reachable():
                steps = redis.client().pipeline(transaction=False)
                steps.incrby(key, want)
                steps.expire(key, 2 * WINDOW)
                return int(steps.execute()[0])
        except redis.RedisUnreachable:
            self._pause.begin()
            raise


#: Of this process, for all faces that count reads: an account has one quota, whatever it calls through.
reads = ReadQuota()
