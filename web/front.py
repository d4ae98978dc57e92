"""The root: browsers are led to the console, programs are told where everything is."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Flask, Response, current_app

from common.settings.links import API_PREFIX, CONSOLE_PREFIX, OPENAI_PREFIX
from web.api import face
from web.http import auth, faces, negotiation
from web.http.responses import absolute_url, enveloped

blp: Final = Blueprint("front", __name__)
OFFERED: Final = ["application/json", "text/html"]
_PLACES: Final = {
    "api": API_PREFIX,
    "openai": OPENAI_PREFIX,
    "console": f"{CONSOLE_PREFIX}/",
    "health": "/health",
    "errors": "/docs/errors",
}
_DOCUMENTED: Final = {"document": f"{API_PREFIX}/openapi.json", "docs": "/docs"}


@blp.get("/")
@auth.public
def root() -> Response:
    """Where to go from here."""
    if negotiation.preferred(OFFERED) == "text/html":
        response = Response(status=303, headers={"Location": f"{CONSOLE_PREFIX}/"})
    else:
        response = enveloped({name: absolute_url(path) for name, path in _places().items()})
    response.headers["Vary"] = "Accept"
    return response


root.produces = OFFERED  # type: ignore[attr-defined]


def _places() -> dict[str, str]:
    documented = _DOCUMENTED if current_app.config["SETTINGS"].expose_docs else {}
    return {**_PLACES, **documented}


def register(app: Flask) -> None:
    """Add the root to the application."""
    app.register_blueprint(blp)
    faces.assign(app, face.OPERATIONS, blp)
