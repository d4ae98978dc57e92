"""The REST face: its resources, its document, and the origins whose pages may call it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import flask_smorest
from flask import Flask, Response
from flask_cors import CORS
from werkzeug.exceptions import HTTPException

from common.settings import Settings
from web.api import admin, auth, events, invocations, operations, subscriptions, tools, usage, users, webhooks
from web.api.blueprint import Blueprint
from web.api.openapi import components, docs, problem_components
from web.http import problems

BASE = "/api/v1"
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
    auth.blp,
    users.blp,
    tools.blp,
    invocations.blp,
    webhooks.blp,
    events.blp,
    usage.blp,
    subscriptions.blp,
    admin.users.blp,
    admin.tools.blp,
    admin.plans.blp,
    admin.invocations.blp,
    admin.usage.blp,
    admin.audit.blp,
)


class Api(flask_smorest.Api):  # type: ignore[misc]
    """flask-smorest with our problems in place of its errors."""

    DEFAULT_ERROR_RESPONSE_NAME = None

    def handle_http_exception(self, error: HTTPException) -> Response:
        return problems.handle_http_exception(error)

    def _register_responses(self) -> None:
        """Our components are in `components.py`; those of flask-smorest would only be in the way."""

    _register_etag_headers = _register_pagination_header = _register_responses


def register(app: Flask, settings: Settings, resources: Sequence[Blueprint] = RESOURCES) -> None:
    """Add the routes of `/api/v1`, the health routes and the documentation to the application."""
    api = Api(app)
    problem_components.define(api.spec)
    components.define(api.spec)
    api.register_blueprint(operations.blp)
    for blp in resources:
        api.register_blueprint(blp, url_prefix=f"{BASE}{blp.url_prefix or ''}")
    docs.register(app, settings, api.spec)
    _allow_origins(app, settings)


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
