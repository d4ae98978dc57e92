"""The web room on a host whose clock is wrong: `SKEW_SECONDS=3600 gunicorn … tools.faults.skewed:app`.

What libfaketime does to other processes; gunicorn's event loop does not start under it. Everything of ours reads the
clock in `common.kit.clock`; the library that verifies access tokens reads it itself.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, tzinfo
from typing import Any

import jwt.api_jwt

from common.kit import clock

SKEW = timedelta(seconds=float(os.environ["SKEW_SECONDS"]))


class Skewed(clock.Clock):
    """Only the wall clock is wrong."""

    def wall(self) -> float:
        return super().wall() + SKEW.total_seconds()


class _Datetime(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:  # Any: a plain datetime, where the library asks for this class
        return datetime.now(tz) + SKEW


clock.use(Skewed())
jwt.api_jwt.datetime = _Datetime  # type: ignore[attr-defined]

from wsgi import app as app  # noqa: E402, PLC0414 - only now: it begins by looking at the clock
