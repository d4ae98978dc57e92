"""`RateLimit-Policy` and `RateLimit` on every authenticated answer (IETF draft-ietf-httpapi-ratelimit-headers).

Whoever checks a limit calls `show(Limit(…))` and the frame renders it. Here live the reads, which every request is
that is not `@limits.submits`: one account has 6,000 of them a minute over all processes. A process takes them
from Redis in small leases, smaller the fewer are left, so that a read rarely costs a round trip and the sum never
exceeds the quota. While Redis is away a process counts alone: reads are not worth refusing for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from flask import Response, current_app, g, request

from common import errors
from common.kit import clock, redis

READS_PER_MINUTE = 6000
WINDOW = 60
#: A lease is at most this share of what is left, and at most `MAX_LEASE`.
LEASE_SHARE = 50
MAX_LEASE = 100
#: After a failure, leave Redis alone for so long (seconds): a hung server must not cost every read its timeout.
REDIS_PAUSE = 5.0

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of the caller: `quota` per `window` seconds, of which `remaining` are left; full again in `reset` s."""

    name: str
    quota: int
    window: int
    remaining: int
    reset: int


def show(limit: Limit) -> None:
    """Tell the caller about this limit in the headers of the answer at hand."""
    g.setdefault("limits", {})[limit.name] = limit


def submits(view: View) -> View:
    """Marks a view that is counted by the plan's own rate, not as a read."""
    view.counts_submits = True  # type: ignore[attr-defined]
    return view


def count() -> None:
    """Count the request at hand as one of the caller's reads. Raises `errors.RateLimited`."""
    if "caller" not in g or _counts_submits():
        return
    limit, allowed = reads.take(g.caller.user_id, clock.wall())
    show(limit)
    if not allowed:
        raise errors.RateLimited(retry_after=limit.reset)


def render(response: Response) -> None:
    """Write the headers of an authenticated answer, also one that was refused before anything was counted.

    Of a submit that the plan's rate did not count (refused, replayed, unlimited) they show the reads as they stand.
    """
    if "caller" in g and "limits" not in g:
        account, now = g.caller.user_id, clock.wall()
        show(reads.standing(account, now) if _counts_submits() else reads.take(account, now)[0])
    limits: dict[str, Limit] = g.get("limits", {})
    if limits:
        policies = (f'"{limit.name}";q={limit.quota};w={limit.window}' for limit in limits.values())
        states = (f'"{limit.name}";r={limit.remaining};t={limit.reset}' for limit in limits.values())
        response.headers["RateLimit-Policy"] = ", ".join(policies)
        response.headers["RateLimit"] = ", ".join(states)


def _counts_submits() -> bool:
    return getattr(current_app.view_functions[request.endpoint or ""], "counts_submits", False)


# -- reads ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Lease:
    """What this process may still serve one account in the present window, and what all have taken."""

    left: int = 0
    taken: int = 0


class Reads:
    """The reads of all accounts, as this process knows them in the present minute."""

    def __init__(self, quota: int = READS_PER_MINUTE) -> None:
        self.quota = quota
        self._window = 0
        self._leases: dict[UUID, _Lease] = {}
        self._paused_until = 0.0

    def take(self, account: UUID, now: float) -> tuple[Limit, bool]:
        """One read of `account` at `now` (seconds since 1970): how the limit stands, and whether it is allowed."""
        lease = self._lease(account, now)
        if not lease.left and lease.taken < self.quota:
            self._extend(lease, account, self._window)
        allowed = lease.left > 0
        lease.left -= allowed
        return self._limit(lease, now), allowed

    def standing(self, account: UUID, now: float) -> Limit:
        """How the limit of `account` stands, as far as this process knows; takes nothing."""
        return self._limit(self._lease(account, now), now)

    def _lease(self, account: UUID, now: float) -> _Lease:
        window = int(now) // WINDOW
        if window != self._window:
            self._window, self._leases = window, {}
        return self._leases.setdefault(account, _Lease())

    def _limit(self, lease: _Lease, now: float) -> Limit:
        remaining = max(0, self.quota - lease.taken) + lease.left
        return Limit("reads", self.quota, WINDOW, remaining, WINDOW - int(now) % WINDOW)

    def _extend(self, lease: _Lease, account: UUID, window: int) -> None:
        want = max(1, min(MAX_LEASE, (self.quota - lease.taken) // LEASE_SHARE))
        try:
            lease.taken = self._add(f"reads:{{{account}}}:{window}", want)
        except redis.Unreachable:
            self._paused_until = clock.monotonic() + REDIS_PAUSE
            lease.taken += want
        lease.left += max(0, want - max(0, lease.taken - self.quota))

    def _add(self, key: str, want: int) -> int:
        if clock.monotonic() < self._paused_until:
            raise redis.Unreachable("left alone after a failure")
        with redis.reachable():
            steps = redis.client().pipeline(transaction=False)
            steps.incrby(key, want)
            steps.expire(key, 2 * WINDOW)
            return int(steps.execute()[0])


reads = Reads()
