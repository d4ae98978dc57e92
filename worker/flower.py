"""Flower asks for its password everywhere but at `/metrics`, which names workers and tasks: there too."""

from __future__ import annotations


def ask_who_wants_metrics() -> None:
    """For the process that is Flower: nobody else imports it."""
    from flower.views.monitor import Metrics
    from tornado.web import authenticated

    Metrics.get = authenticated(Metrics.get)
