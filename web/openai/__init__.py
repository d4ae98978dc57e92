"""The OpenAI-compatible route, `/v1`: an unmodified client of that API calls the tools that are models.

    routes        the operations
    asked         what a request asks for: a tool, its input, and how it is to be answered
    calling       … becomes an invocation, which the client's own retries join
    answers       the whole answer, once it has ended
    chunks        … or piece by piece, while it is made
    errors        errors and ends that are none, in OpenAI's shape

Each request is an ordinary invocation. Design: docs/decisions/openai-route.md; for users: docs/openai-clients.md.
"""

from __future__ import annotations

from flask import Flask

from web.http import faces
from web.openai.face import OPENAI
from web.openai.routes import blp


def register(app: Flask) -> None:
    """Add the routes to the application."""
    app.register_blueprint(blp)
    faces.assign(app, OPENAI, blp)
