"""Resources that only admins may use."""

from __future__ import annotations

from web.api.admin import audit, invocations, plans, tools, usage, users

__all__ = ["audit", "invocations", "plans", "tools", "usage", "users"]
