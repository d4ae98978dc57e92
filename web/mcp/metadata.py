"""Protected-resource metadata (RFC 9728): where clients of `/mcp` get a token, as far as the operator says so."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, current_app

from common.kit import jsonb
from common.models.accounts import SCOPES
from common.settings import Settings
from common.settings.links import MCP_PATH, RESOURCE_METADATA
from web.http import auth
from web.http.responses import absolute_url

blp: Final = Blueprint("resource_metadata", __name__, url_prefix=RESOURCE_METADATA)
#: Seconds for which a client may go on with what it has read.
FRESH: Final = 300


@blp.get("")
@auth.public
def whole() -> Response:
    """Of everything that is served here."""
    return _metadata("")


@blp.get(MCP_PATH)
@auth.public
def of_mcp() -> Response:
    """Of `/mcp`."""
    return _metadata(MCP_PATH)


def _metadata(path: str) -> Response:
    settings: Settings = current_app.config["SETTINGS"]
    said: dict[str, object] = {
        "resource": absolute_url(path),
        "resource_name": "Joyfull Hub",
        "bearer_methods_supported": ["header"],
        "scopes_supported": [scope for scope in SCOPES if scope != "admin"],
        **({"resource_documentation": absolute_url("/docs")} if settings.expose_docs else {}),
        **({"authorization_servers": list(settings.oauth_issuers)} if settings.oauth_issuers else {}),
    }
    response = Response(jsonb.encoded(said), content_type="application/json")
    response.headers["Cache-Control"] = f"public, max-age={FRESH}"
    return response
