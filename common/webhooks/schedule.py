"""When to try again: pure, so that the whole schedule can be read and tested without a clock."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from common.kit import clock

_MINUTE, _HOUR = 60, 3600
#: Seconds after each failed try; at once for the first, so there are eight tries in about 28 hours.
DELAYS = (5, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 10 * _HOUR)
MAX_TRIES = len(DELAYS) + 1
JITTER = 0.1
MAX_RETRY_AFTER = 24 * _HOUR


def delay(tries: int, retry_after: float | None = None) -> float | None:
    """Seconds until the next try after `tries` failed ones; None: there is none.

    A receiver's Retry-After is a lower bound: it may stretch a step of the schedule, never shorten it, or a receiver
    that always says "in a second" would use up all tries in a few of them.
    """
    if tries >= MAX_TRIES:
        return None
    return max(clock.jitter(DELAYS[tries - 1], JITTER), retry_after or 0)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110 §10.2.3), a day at most; None: nothing that can be read."""
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
