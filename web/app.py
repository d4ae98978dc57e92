"""`create_app(settings)`: the web room, and the table of contents of the API."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import flask_smorest
import orjson
from flask import Flask, Response
from flask.json.provider import JSONProvider
from flask_cors import CORS
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import UUIDConverter

from common import boot
from common.kit import tracing
from common.settings import Settings
from web import auth, cli, components, docs, document, hooks, openapi, problems, streams
from web.api import (
    admin_audit,
    admin_invocations,
    admin_plans,
    admin_tools,
    admin_usage,
    admin_users,
    events,
    invocations,
    operations,
    subscriptions,
    tools,
    usage,
    users,
    webhooks,
)
from web.api import auth as auth_api
from web.blueprint import Blueprint
from web.tracing import traced

BASE = "/api/v1"
POOL_SIZE = 16
CORS_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "X-API-Key",
    "X-Request-ID",
)


#: Every resource under `/api/v1`, in the order in which the docs show them. Add yours here.
RESOURCES: tuple[Blueprint, ...] = (
    auth_api.blp,
    users.blp,
    tools.blp,
    invocations.blp,
    webhooks.blp,
    events.blp,
    usage.blp,
    subscriptions.blp,
    admin_users.blp,
    admin_tools.blp,
    admin_plans.blp,
    admin_invocations.blp,
    admin_usage.blp,
    admin_audit.blp,
)


class CanonicalUuid(UUIDConverter):
    """Ids have one form, lower case; any other is nobody's (404)."""

    regex = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

    def to_python(self, value: str) -> UUID:
        return UUID(value)


class Json(JSONProvider):
    """orjson, and the standard library for the rare integer that it cannot write."""

    def dumps(self, obj: Any, *, indent: int | None = None, **_: Any) -> str:
        return orjson.dumps(obj, option=orjson.OPT_INDENT_2).decode() if indent else _encode(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        return Response(_encode(self._prepare_response_obj(args, kwargs)), content_type="application/json")


def _encode(obj: Any) -> bytes:
    try:
        return orjson.dumps(obj)
    except TypeError:
        return json.dumps(obj, default=str, separators=(",", ":")).encode()


class Api(flask_smorest.Api):  # type: ignore[misc]
    """flask-smorest with our problems in place of its errors."""

    DEFAULT_ERROR_RESPONSE_NAME = None

    def handle_http_exception(self, error: HTTPException) -> Response:
        return problems.handle_http_exception(error)

    def _register_responses(self) -> None:
        """Our components are in `web/openapi.py`; those of flask-smorest would only be in the way."""

    _register_etag_headers = _register_pagination_header = _register_responses


class Application(Flask):
    json_provider_class = Json

    def dispatch_request(self) -> Response:
        """What the view answers; of an answer that is made while it is sent, the first value is made here."""
        return streams.begun(self.make_response(super().dispatch_request()))

    def make_default_options_response(self) -> Response:
        response = super().make_default_options_response()
        response.status_code = 204
        return response


def create_app(settings: Settings, resources: Sequence[Blueprint] = RESOURCES) -> Flask:
    """The WSGI application, connected. Call it in the process that serves: after forking, never before."""
    boot.connect(settings, process="web", pool_size=POOL_SIZE)
    app = Application(__name__, static_folder=None)
    _configure(app, settings)
    hooks.register(app)
    problems.register(app)
    auth.init(app, settings)
    _register(app, settings, resources)
    _allow_origins(app, settings)
    _refuse_undecided(app)
    cli.register(app, settings)
    if tracing.enabled():
        app.wsgi_app = traced(app.wsgi_app)  # type: ignore[method-assign]
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
        API_VERSION="1.0.0",
        OPENAPI_VERSION="3.1.0",
        API_SPEC_OPTIONS={"info": {"description": openapi.DESCRIPTION}, "servers": [{"url": settings.public_url}]},
        PROPAGATE_EXCEPTIONS=False,
    )
    app.url_map.converters["uuid"] = CanonicalUuid
    app.url_map.merge_slashes = False


def _register(app: Flask, settings: Settings, resources: Sequence[Blueprint]) -> None:
    api = Api(app, spec_kwargs={"marshmallow_plugin": document.plugin()})
    components.define(api.spec)
    api.register_blueprint(operations.blp)
    for blp in resources:
        api.register_blueprint(blp, url_prefix=f"{BASE}{blp.url_prefix or ''}")
    docs.register(app, settings, api.spec)


def _allow_origins(app: Flask, settings: Settings) -> None:
    """CORS for exactly the origins that the settings name; without any there are no CORS headers at all."""
    if settings.cors_origins:
        CORS(
            app,
            # Compiled by us: flask-cors takes text with a bracket or a star in it for a pattern, open at its end.
            origins=[re.compile(re.escape(origin) + r"\Z", re.IGNORECASE) for origin in settings.cors_origins],
            methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=[*CORS_REQUEST_HEADERS],
            expose_headers=[*components.EXPOSED],
            supports_credentials=False,
            max_age=600,
        )


def _refuse_undecided(app: Flask) -> None:
    """Deny by default: a route that states no policy keeps the whole app from starting (S02)."""
    undecided = sorted(name for name, view in app.view_functions.items() if not hasattr(view, "policy"))
    if undecided:
        raise RuntimeError(f"these views state no policy (web/auth.py): {', '.join(undecided)}")
