"""The product, with clients that hear of an end by word alone: nobody's row is read again just because time passes."""

from __future__ import annotations

from web.http import waiting
from wsgi import app

__all__ = ["app"]

waiting.REREAD_SECONDS = waiting.HEARTBEAT_SECONDS = 3_600.0
