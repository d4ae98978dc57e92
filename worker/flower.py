"""Require Flower's password for `/metrics` too, which Flower leaves open although it names workers and tasks."""

from __future__ import annotations


def require_login_for_metrics() -> None:
    """Patch Flower's view; call it in the Flower process only, since this imports Flower."""
    from flower.views.monitor import Metrics
    from tornado.web import authenticated

    Metrics.get = authenticated(Metrics.get)
