"""`create_app(settings)`: the web application, assembled from its parts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

import orjson
from flask import Flask, Response
from flask.json.provider import JSONProvider
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import UUIDConverter

from common import boot
from common.kit import jsonb, tracing
from common.settings import Settings
from common.settings.version import VERSION
from web import cli, console, front, mcp, openai
from web.api import rest
from web.api.blueprint import Blueprint
from web.api.lean import Lean
from web.api.lean_submits import LeanSubmits
from web.api.openapi.operations import DESCRIPTION
from web.api.overload import EarlyRefusals
from web.http import access_tokens, faces, problems, request_hooks, streams
from web.http.refusals import Refusals
from web.http.tracing import traced

POOL_SIZE = 16


class CanonicalUuid(UUIDConverter):
    """Ids have one form, lower case; any other is not found (404)."""

    regex = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

    def to_python(self, value: str) -> UUID:
        return UUID(value)


class Json(JSONProvider):
    """orjson, with the standard library as a fallback for integers beyond 64 bits."""

    def dumps(self, obj: object, *, indent: int | None = None, **_: object) -> str:
        return orjson.dumps(obj, option=orjson.OPT_INDENT_2).decode() if indent else jsonb.encoded(obj).decode()

    def loads(self, s: str | bytes, **_: object) -> object:
        return json.loads(s)

    def response(self, *args: object, **kwargs: object) -> Response:
        return Response(jsonb.encoded(self._prepare_response_obj(args, kwargs)), content_type="application/json")


class Application(Flask):
    """Flask, with strict JSON and responses whose first value is made before their status is sent."""

    json_provider_class = Json

    def dispatch_request(self) -> Response:
        """Call the view; for a streamed response, also produce its first value."""
        return streams.started(self.make_response(super().dispatch_request()))

    def make_default_options_response(self) -> Response:
        response = super().make_default_options_response()
        response.status_code = 204
        return response


def create_app(settings: Settings, resources: Sequence[Blueprint] = rest.RESOURCES) -> Flask:
    """The WSGI application, with its connections. Call it in the serving process: after forking, never before."""
    boot.connect(settings, process="web", pool_size=POOL_SIZE)
    app = Application(__name__, static_folder=None)
    _configure(app, settings)
    request_hooks.register(app)
    problems.register(app)
    access_tokens.init(app, settings)
    app.extensions["refusals"] = Refusals(settings.public_url)
    rest.register(app, settings, resources)
    console.register(app)
    openai.register(app)
    mcp.register(app)
    front.register(app)
    require_policies(app)
    cli.register(app, settings)
    app.wsgi_app = LeanSubmits(app)  # type: ignore[method-assign]
    app.wsgi_app = EarlyRefusals(app.wsgi_app, settings.public_url)  # type: ignore[method-assign]
    app.wsgi_app = Lean(app)  # type: ignore[method-assign]
    if tracing.enabled():
        app.wsgi_app = traced(app.wsgi_app)  # type: ignore[method-assign, assignment]
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0)  # type: ignore[method-assign]
    return app


def _configure(app: Flask, settings: Settings) -> None:
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_body_bytes,
        PUBLIC_URL=settings.public_url,
        SETTINGS=settings,
        API_TITLE="Joyfull Hub",
        API_VERSION=VERSION,
        OPENAPI_VERSION="3.1.0",
        API_SPEC_OPTIONS={
            "info": {"description": DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
            "servers": [{"url": settings.public_url}],
        },
        PROPAGATE_EXCEPTIONS=False,
    )
    app.url_map.converters["uuid"] = CanonicalUuid
    app.url_map.merge_slashes = False


def require_policies(app: Flask) -> None:
    """Deny by default: refuse to start if a view does not say who may call it, or belongs to no face."""
    unprotected = sorted(name for name, view in app.view_functions.items() if not hasattr(view, "policy"))
    if unprotected:
        raise RuntimeError(f"these views have no access policy (web/http/auth.py): {', '.join(unprotected)}")
    if undecided := list(faces.undecided(app)):
        raise RuntimeError(f"these views belong to no face (web/http/faces.py): {', '.join(undecided)}")
