"""The retry schedule, as pure functions."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from common.kit import clock

_MINUTE, _HOUR = 60, 3600
#: Seconds to wait after each failed try: eight tries in about 28 hours.
DELAYS = (5, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 10 * _HOUR)
MAX_TRIES = len(DELAYS) + 1
JITTER = 0.1
MAX_RETRY_AFTER = 24 * _HOUR


def delay(tries: int, retry_after: float | None = None) -> float | None:
    """Seconds until the next try after `tries` failed ones; None when there is none.

    Retry-After (seconds) is a lower bound: it may extend a delay, never shorten it. Otherwise a receiver that always
    asks for one second would use up all tries within seconds.
    """
    if tries >= MAX_TRIES:
        return None
    return max(clock.jitter(DELAYS[tries - 1], JITTER), retry_after or 0)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds requested by a Retry-After header (RFC 9110 §10.2.3), at most a day; None if absent or invalid."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:10]), MAX_RETRY_AFTER))
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    return min(max(seconds.total_seconds(), 0.0), float(MAX_RETRY_AFTER))
