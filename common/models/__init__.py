"""Every table of the platform, and the SQL that metadata cannot say (`DDL_UP`, `DDL_DOWN`; for the migration)."""

from common.models import accounts, budgets, instance, invocations, sessions, subscriptions, tools, usage, webhooks
from common.models.base import Base

_MODULES = (accounts, sessions, subscriptions, tools, invocations, usage, webhooks, budgets, instance)
DDL_UP: tuple[str, ...] = tuple(s for m in _MODULES for s in getattr(m, "DDL_UP", ()))
DDL_DOWN: tuple[str, ...] = tuple(s for m in reversed(_MODULES) for s in getattr(m, "DDL_DOWN", ()))

__all__ = [
    "DDL_DOWN",
    "DDL_UP",
    "Base",
    "accounts",
    "budgets",
    "instance",
    "invocations",
    "sessions",
    "subscriptions",
    "tools",
    "usage",
    "webhooks",
]
