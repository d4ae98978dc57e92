"""The product without periodic re-reads: waiting clients are woken only by notifications."""

from __future__ import annotations

from web.http import status_changes, waiting
from wsgi import app

__all__ = ["app"]

waiting.REREAD_SECONDS = status_changes.HEARTBEAT_SECONDS = 3_600.0
