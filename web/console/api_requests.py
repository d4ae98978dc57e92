"""The request of the API that shows or does the same as a page: nothing in the console cannot be scripted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import request

from common.settings.links import API_PREFIX

#: By the name of the page. What is in braces is an argument of the page's own address.
REQUESTS: Final[Mapping[str, str]] = {
    "admin": "GET /admin/usage/stats",
    "admin_audit": "GET /admin/audit",
    "admin_plan": "GET /admin/plans/{slug}",
    "admin_plans": "GET /admin/plans",
    "admin_run": "GET /admin/invocations/{invocation_id}",
    "admin_runs": "GET /admin/invocations",
    "admin_tool": "GET /admin/tools/{tool_id}",
    "admin_tool_version": "GET /admin/tools/{tool_id}/versions",
    "admin_tool_versions": "GET /admin/tools/{tool_id}/versions",
    "admin_tools": "GET /admin/tools",
    "admin_user": "GET /admin/users/{user_id}",
    "admin_users": "GET /admin/users",
    "again": "POST /invocations/{invocation_id}/rerun",
    "ask_archiving": "DELETE /admin/tools/{tool_id}",
    "ask_default_rotation": "POST /webhooks/default-secret/rotate",
    "ask_key_revocation": "DELETE /users/me/api-keys/{key_id}",
    "ask_key_rotation": "POST /users/me/api-keys/{key_id}/rotate",
    "ask_replay": "GET /webhooks/{endpoint_id}/replay",
    "ask_webhook_removal": "DELETE /webhooks/{endpoint_id}",
    "ask_webhook_rotation": "POST /webhooks/{endpoint_id}/rotate-secret",
    "cancel_run": "POST /invocations/{invocation_id}/cancel",
    "delete_account": "DELETE /users/me",
    "delivery": "GET /webhooks/{endpoint_id}/deliveries/{delivery_id}",
    "edit_tool": "PATCH /admin/tools/{tool_id}",
    "import_tools": "POST /admin/tools/import",
    "keys": "GET /users/me/api-keys",
    "new_key": "POST /users/me/api-keys",
    "new_tool": "POST /admin/tools",
    "operator": "GET /admin/operations",
    "overview": "GET /subscriptions/current",
    "plan": "GET /subscriptions/plans",
    "plan_cancel": "POST /subscriptions/cancel",
    "plan_change": "GET /subscriptions/preview",
    "run": "GET /invocations/{invocation_id}",
    "runs": "GET /invocations",
    "settings": "GET /users/me",
    "statement": "GET /subscriptions/statement",
    "tool": "POST /tools/{tool}/invoke",
    "tool_quote": "POST /tools/{tool}/quote",
    "tool_version": "GET /tools/{tool}/versions",
    "tool_versions": "GET /tools/{tool}/versions",
    "tools": "GET /tools",
    "usage": "GET /usage/summary",
    "webhook": "GET /webhooks/{endpoint_id}",
    "webhooks": "GET /webhooks",
    "weigh_grant": "POST /admin/users/{user_id}/grants",
}


def of_page() -> str | None:
    """That of the page that is asked for: `GET /api/v1/tools`."""
    found = REQUESTS.get((request.endpoint or "").removeprefix("console."))
    if found is None:
        return None
    method, _, path = found.partition(" ")
    return f"{method} {API_PREFIX}{path.format_map(request.view_args or {})}"
