"""The console: the platform's own pages, rendered on the server, complete with scripts off (docs/console.md)."""

from __future__ import annotations

from flask import Flask

from web.console.blueprint import blp
from web.console.face import CONSOLE
from web.console.pages import (
    entry,
    files,
    overview,
    plan,
    run,
    runs,
    settings,
    statement,
    streaming,
    tools,
    usage,
    wishes,
)
from web.http import faces

#: Every part with pages. Add new ones here.
PAGES = (entry, files, overview, plan, run, runs, settings, statement, streaming, tools, usage, wishes)


def register(app: Flask) -> None:
    """Add the console to the application."""
    app.register_blueprint(blp)
    faces.assign(app, CONSOLE, blp)
