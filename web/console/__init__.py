"""The console: the platform's own pages, rendered on the server, complete with scripts off (docs/console.md)."""

from __future__ import annotations

from flask import Flask

from web.console.blueprint import blp
from web.console.face import CONSOLE
from web.console.pages import (
    accounts,
    admin_plans,
    admin_runs,
    admin_tool_editor,
    admin_tool_imports,
    admin_tools,
    audit,
    deliveries,
    entry,
    files,
    keys,
    operator,
    overview,
    plan,
    preferences_form,
    run,
    runs,
    settings,
    statement,
    statistics,
    streaming,
    tool_versions,
    tools,
    usage,
    webhook_secrets,
    webhooks,
)
from web.http import faces

#: Every part with pages. Add new ones here.
PAGES = (
    accounts,
    admin_plans,
    admin_runs,
    admin_tool_editor,
    admin_tool_imports,
    admin_tools,
    audit,
    deliveries,
    entry,
    files,
    keys,
    operator,
    overview,
    plan,
    preferences_form,
    run,
    runs,
    settings,
    statement,
    statistics,
    streaming,
    tool_versions,
    tools,
    usage,
    webhook_secrets,
    webhooks,
)


def register(app: Flask) -> None:
    """Add the console to the application."""
    app.register_blueprint(blp)
    faces.assign(app, CONSOLE, blp)
