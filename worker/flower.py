"""Require Flower's password for `/metrics` too, which Flower leaves open although it names workers and tasks.

Import this in the Flower process only, since it imports Flower.
"""

from __future__ import annotations

from flower.views.monitor import Metrics
from tornado.web import authenticated


def require_login_for_metrics() -> None:
    """Patch Flower's view."""
    Metrics.get = authenticated(Metrics.get)
