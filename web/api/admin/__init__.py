"""`/admin`: resources for admins only."""

from __future__ import annotations

from web.api.admin import audit, invocations, plans, tools, usage, users

__all__ = ["audit", "invocations", "plans", "tools", "usage", "users"]
