"""`/admin`: resources for admins only."""

from __future__ import annotations

from web.api.admin import audit, invocations, operations, plans, tool_imports, tools, usage, users

__all__ = ["audit", "invocations", "operations", "plans", "tool_imports", "tools", "usage", "users"]
