"""The served documentation: the OpenAPI document, a bundled Swagger UI, and a page of all error codes."""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path

import orjson
from flask import Blueprint, Flask, Response, current_app, send_from_directory

from common import errors
from common.errors import PlatformError
from common.settings import Settings
from common.settings.links import API_PREFIX
from web.api.openapi import document
from web.api.openapi.components import Collected
from web.http import auth, problems
from web.http.faces import CLOSED

STATIC = Path(__file__).resolve().parents[2] / "static"
#: The interactive page and the document: served with `EXPOSE_DOCS`.
interactive = Blueprint("docs", __name__)
#: The error page, to which the `type` of every problem points: always served.
always = Blueprint("errors", __name__)


def register(app: Flask, settings: Settings, spec: Collected) -> None:
    """Register the pages that the settings allow. Call it last: `spec` must be complete."""
    app.register_blueprint(always)
    if settings.expose_docs:
        app.config["OPENAPI_DOCUMENT"] = orjson.dumps(document.complete(spec.to_dict()))
        app.register_blueprint(interactive)


@interactive.get(f"{API_PREFIX}/openapi.json")
@auth.public
def openapi() -> Response:
    return Response(current_app.config["OPENAPI_DOCUMENT"], headers={**CLOSED}, content_type="application/json")


@interactive.get("/docs")
@auth.public
def page() -> Response:
    return _page(
        "Joyfull Hub API",
        '<div id="swagger-ui"></div>'
        '<script src="/docs/static/swagger-ui/swagger-ui-bundle.js"></script>'
        '<script src="/docs/static/docs.js"></script>',
        '<link rel="stylesheet" href="/docs/static/swagger-ui/swagger-ui.css">',
    )


@always.get("/docs/static/<path:name>")
@auth.public
def asset(name: str) -> Response:
    return send_from_directory(STATIC, name, max_age=3600)


@always.get("/docs/errors")
@auth.public
def error_pages() -> Response:
    return _page("Errors of the Joyfull Hub API", _error_sections())


for _view in (page, asset, error_pages):
    setattr(_view, "produces", ["text/html", "text/css", "text/javascript", "image/png"])  # noqa: B010


@cache
def _error_sections() -> str:
    intro = (
        "<h1>Errors</h1><p>Every error is an <code>application/problem+json</code> document (RFC 9457). Branch on its "
        "<code>code</code>, show its <code>detail</code>, and quote its <code>request_id</code> in reports.</p>"
    )
    return intro + "".join(_error_section(kind) for kind in problems.catalogue())


def _error_section(kind: type[PlatformError]) -> str:
    status = problems.status_of(kind)
    return (
        f'<section id="{kind.code}"><h2><a href="#{kind.code}"><code>{kind.code}</code></a> '
        f"<small>{status} {problems.title_of(status)}</small></h2>"
        f"<p>{escape(kind().detail)}</p>{_advice(kind)}</section>"
    )


def _advice(kind: type[PlatformError]) -> str:
    if issubclass(kind, errors.Temporary):
        return "<p>Retry after the number of seconds in <code>Retry-After</code>.</p>"
    if issubclass(kind, errors.Invalid):
        return "<p><code>errors</code>, if present, lists the invalid parts of the request.</p>"
    return ""


def _page(title: str, body: str, head: str = "") -> Response:
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="stylesheet" href="/docs/static/docs.css">{head}</head><body>{body}</body></html>'
    )
    return Response(html, content_type="text/html; charset=utf-8")
