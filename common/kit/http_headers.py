"""HTTP headers that several protocols read."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER: Final = 24 * 3600


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds requested by a Retry-After header (RFC 9110 §10.2.3), at most a day; None if absent or invalid."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:10]), MAX_RETRY_AFTER))
    try:
        moment = parsedate_to_datetime(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    except (
        TypeError,
        ValueError,
        OverflowError,
    ):  # the last: a year or a zone beyond an integer of C
        return None
    return min(max(seconds.total_seconds(), 0.0), float(MAX_RETRY_AFTER))
