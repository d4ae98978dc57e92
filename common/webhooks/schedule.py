"""The retry schedule, as pure functions."""

from __future__ import annotations

from common.kit import clock

_MINUTE, _HOUR = 60, 3600
#: Seconds to wait after each failed try: eight tries in about 28 hours.
DELAYS = (5, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 10 * _HOUR)
MAX_TRIES = len(DELAYS) + 1
JITTER = 0.1


def delay(tries: int, retry_after: float | None = None) -> float | None:
    """Seconds until the next try after `tries` failed ones; None when there is none.

    Retry-After (seconds) is a lower bound: it may extend a delay, never shorten it. Otherwise a receiver that always
    asks for one second would use up all tries within seconds.
    """
    if tries >= MAX_TRIES:
        return None
    return max(clock.jitter(DELAYS[tries - 1], JITTER), retry_after or 0)
