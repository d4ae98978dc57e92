"""The REST API: its resources, its OpenAPI document and CORS."""

from __future__ import annotations

import re
from collections.abc import Sequence

import flask_smorest
from flask import Flask, Response
from flask_cors import CORS
from werkzeug.exceptions import HTTPException

from common.settings import Settings
from common.settings.links import API_PREFIX
from web.api import (
    admin,
    attention,
    auth,
    events,
    face,
    forecasts,
    invocations,
    keys,
    operations,
    receipts,
    schedules,
    sessions,
    statements,
    subscriptions,
    tools,
    usage,
    users,
    webhooks,
)
from web.api.blueprint import Blueprint
from web.api.openapi import components, docs, problem_components
from web.http import faces, problems

CORS_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Joyfull-Max-Tokens",
    "Joyfull-On-Disconnect",
    "Joyfull-Quote",
    "Last-Event-ID",
    "MCP-Protocol-Version",
    "Mcp-Method",
    "Mcp-Name",
    "Prefer",
    "X-API-Key",
    "X-Request-ID",
)
#: What OpenAI's clients say of themselves.
_STAINLESS = re.compile(r"x-stainless-[a-z-]{1,40}\Z", re.IGNORECASE)
#: Of the OpenAI-compatible route, which is documented elsewhere.
CORS_RESPONSE_HEADERS = ("Joyfull-Charged", "Joyfull-Held", "Joyfull-Invocation", "X-Should-Retry")

#: Every resource under `/api/v1`. Add new ones here.
RESOURCES: tuple[Blueprint, ...] = (
    auth.blp,
    users.blp,
    attention.blp,
    keys.blp,
    sessions.blp,
    tools.blp,
    invocations.blp,
    receipts.blp,
    schedules.blp,
    webhooks.blp,
    events.blp,
    usage.blp,
    forecasts.blp,
    subscriptions.blp,
    statements.blp,
    admin.users.blp,
    admin.tools.blp,
    admin.tool_imports.blp,
    admin.plans.blp,
    admin.invocations.blp,
    admin.usage.blp,
    admin.audit.blp,
    admin.operations.blp,
)


class Api(flask_smorest.Api):  # type: ignore[misc]
    """flask-smorest with the errors of the faces in place of its own."""

    DEFAULT_ERROR_RESPONSE_NAME = None

    def handle_http_exception(self, error: HTTPException) -> Response:
        return problems.handle_http_exception(error)

    def _register_responses(self) -> None:
        """Omit the components of flask-smorest; ours are in `web/api/openapi`."""

    _register_etag_headers = _register_pagination_header = _register_responses


def register(app: Flask, settings: Settings, resources: Sequence[Blueprint] = RESOURCES) -> None:
    """Add the routes of `/api/v1`, the health routes and the documentation to the application."""
    api = Api(app)
    api.ma_plugin.converter.add_attribute_function(components.names_of_members)
    problem_components.define(api.spec)
    components.define(api.spec)
    api.register_blueprint(operations.blp)
    api.register_blueprint(receipts.public)
    for blp in resources:
        api.register_blueprint(blp, url_prefix=f"{API_PREFIX}{blp.url_prefix or ''}")
    docs.register(app, settings, api.spec)
    faces.assign(app, face.OPERATIONS, operations.blp)
    faces.assign(app, face.REST, *resources)
    faces.assign(app, face.WELL_KNOWN, receipts.public)
    faces.assign(app, face.DOCUMENTATION, docs.always, docs.interactive)
    _allow_origins(app, settings)


def _allow_origins(app: Flask, settings: Settings) -> None:
    """Allow exactly the origins in the settings; without any, no CORS headers are sent."""
    if settings.cors_origins:
        CORS(
            app,
            # Compiled here: flask-cors treats text with brackets or stars as a pattern that is not anchored at its end.
            origins=[re.compile(re.escape(origin) + r"\Z", re.IGNORECASE) for origin in settings.cors_origins],
            methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=[*CORS_REQUEST_HEADERS, _STAINLESS],
            expose_headers=[*components.EXPOSED, *CORS_RESPONSE_HEADERS],
            supports_credentials=False,
            max_age=600,
        )
