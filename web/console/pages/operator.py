"""What an operator looks at first: everything that is going on, and what could not be read."""

from __future__ import annotations

from flask import current_app

from common.operations import overview
from common.settings import Settings
from web.console.blueprint import Context, blp, page
from web.http import auth


def places(settings: Settings) -> list[tuple[str, str]]:
    """Paths that this process answers, and what they are: those that the settings expose."""
    exposed = (
        ("/docs", "API documentation", settings.expose_docs),
        ("/api/v1/metrics", "Metrics (Prometheus)", settings.expose_metrics),
    )
    return [(path, label) for path, label, is_exposed in exposed if is_exposed]


@blp.get("/operator")
@auth.admin
@page("operator.html", parts=("operator",))
def operator() -> Context:
    """The state of the platform, at most two seconds old."""
    settings: Settings = current_app.config["SETTINGS"]
    state = overview.read(settings)
    missing = {each.part: each.reason for each in state.unavailable}
    return {"state": state, "missing": missing, "places": places(settings), "flower_port": settings.flower_port}
