"""Every table of the platform, and the SQL that metadata cannot say (`DDL_UP`, `DDL_DOWN`; for the migration)."""

from common.models import (
    accounts,
    audit,
    budgets,
    client_calls,
    instance,
    invocations,
    invocations_sql,
    ledger,
    processes,
    schedules,
    sessions,
    signatures,
    subscriptions,
    tools,
    usage,
    usage_sql,
    webhooks,
)
from common.models.base import Base

_MODULES = (
    *(accounts, sessions, audit, subscriptions, tools, invocations, invocations_sql, processes, usage, usage_sql),
    *(webhooks, budgets, client_calls, instance, ledger, schedules, signatures),
)
DDL_UP: tuple[str, ...] = tuple(s for m in _MODULES for s in getattr(m, "DDL_UP", ()))
DDL_DOWN: tuple[str, ...] = tuple(s for m in reversed(_MODULES) for s in getattr(m, "DDL_DOWN", ()))

__all__ = [
    "DDL_DOWN",
    "DDL_UP",
    "Base",
    "accounts",
    "audit",
    "budgets",
    "client_calls",
    "instance",
    "invocations",
    "ledger",
    "processes",
    "schedules",
    "sessions",
    "signatures",
    "subscriptions",
    "tools",
    "usage",
    "webhooks",
]
