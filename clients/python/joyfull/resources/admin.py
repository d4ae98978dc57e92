"""Administration: accounts, plans, tools, usage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from joyfull import models
from joyfull.exchange import Operation
from joyfull.paging import Page
from joyfull.resource import body_of, many, nothing, one, request_of
from joyfull.surface import Asynchronous, Driven, Surface, Synchronous, listing, operation

if TYPE_CHECKING:
    from joyfull.models.bodies import (
        AdminAuditIndexQuery,
        AdminInvocationsIndexQuery,
        AdminOperationsBooksQuery,
        AdminToolsIndexQuery,
        AdminToolsVersionsQuery,
        AdminUsageStatsQuery,
        AdminUsersIndexKeysQuery,
        AdminUsersIndexQuery,
        GrantIn,
        ImportIn,
        PlanChanges,
        PlanIn,
        PlansIndexQuery,
        ToolChanges,
        ToolIn,
        TrialIn,
        UserChanges,
    )


class AdminUsersSurface(Surface):
    """Accounts, for admins."""

    @listing
    def list(self, **filters: Unpack[AdminUsersIndexQuery]) -> Operation[Page[models.AdminUser]]:
        """Accounts."""
        request = request_of(self._context, "admin_users_index", query=filters)
        return many(self._context, models.AdminUser.of, request)

    @operation
    def get(self, user_id: str) -> Operation[models.AdminUser]:
        """One account."""
        request = request_of(self._context, "admin_users_show", {"user_id": user_id})
        return one(self._context, models.AdminUser.of, request)

    @operation
    def update(self, user_id: str, **fields: Unpack[UserChanges]) -> Operation[models.AdminUser]:
        """Change role or `is_active`, effective at once."""
        request = request_of(self._context, "admin_users_edit", {"user_id": user_id}, body=body_of(fields))
        return one(self._context, models.AdminUser.of, request)

    @operation
    def grant(self, user_id: str, **fields: Unpack[GrantIn]) -> Operation[models.Grant]:
        """Grant tokens, or take some back (negative)."""
        request = request_of(self._context, "admin_users_grant", {"user_id": user_id}, body=body_of(fields))
        return one(self._context, models.Grant.of, request)

    @operation
    def get_grant(self, user_id: str, grant_id: str) -> Operation[models.Grant]:
        """One grant."""
        request = request_of(self._context, "admin_users_show_grant", {"user_id": user_id, "grant_id": grant_id})
        return one(self._context, models.Grant.of, request)

    @listing
    def keys(self, user_id: str, **filters: Unpack[AdminUsersIndexKeysQuery]) -> Operation[Page[models.ApiKey]]:
        """The keys of an account."""
        request = request_of(self._context, "admin_users_index_keys", {"user_id": user_id}, query=filters)
        return many(self._context, models.ApiKey.of, request)


class AdminUsers(AdminUsersSurface, Synchronous):
    """Accounts, for admins, of a `Client`."""


class AsyncAdminUsers(AdminUsersSurface, Asynchronous):
    """Accounts, for admins, of an `AsyncClient`."""


class AdminToolsSurface(Surface):
    """Tools, for admins."""

    @listing
    def list(self, **filters: Unpack[AdminToolsIndexQuery]) -> Operation[Page[models.AdminTool]]:
        """Tools, inactive ones too."""
        request = request_of(self._context, "admin_tools_index", query=filters)
        return many(self._context, models.AdminTool.of, request)

    @operation
    def create(self, **fields: Unpack[ToolIn]) -> Operation[models.AdminTool]:
        """Add one."""
        request = request_of(self._context, "admin_tools_create", body=body_of(fields))
        return one(self._context, models.AdminTool.of, request)

    @operation
    def get(self, tool_id: str) -> Operation[models.AdminTool]:
        """One tool, with where it is."""
        request = request_of(self._context, "admin_tools_show", {"tool_id": tool_id})
        return one(self._context, models.AdminTool.of, request)

    @operation
    def update(self, tool_id: str, **fields: Unpack[ToolChanges]) -> Operation[models.AdminTool]:
        """Change it, which makes a new version."""
        request = request_of(self._context, "admin_tools_edit", {"tool_id": tool_id}, body=body_of(fields))
        return one(self._context, models.AdminTool.of, request)

    @operation
    def archive(self, tool_id: str) -> Operation[None]:
        """Take it out of the catalogue; accepted calls finish."""
        request = request_of(self._context, "admin_tools_archive", {"tool_id": tool_id})
        return nothing(self._context, request)

    @operation
    def test(self, tool_id: str, **fields: Unpack[TrialIn]) -> Operation[models.Trial]:
        """Call it once; nobody is charged."""
        request = request_of(self._context, "admin_tools_test", {"tool_id": tool_id}, body=body_of(fields))
        return one(self._context, models.Trial.of, request)

    @operation
    def breaker(self, tool_id: str) -> Operation[models.Breaker]:
        """Whether it is called at the moment."""
        request = request_of(self._context, "admin_tools_breaker", {"tool_id": tool_id})
        return one(self._context, models.Breaker.of, request)

    @operation
    def reset_breaker(self, tool_id: str) -> Operation[models.Breaker]:
        """Call it again from now on."""
        request = request_of(self._context, "admin_tools_reset_breaker", {"tool_id": tool_id})
        return one(self._context, models.Breaker.of, request)

    @operation
    def import_document(self, **fields: Unpack[ImportIn]) -> Operation[models.Import]:
        """See which tools an OpenAPI document would make; with `create`, make them."""
        request = request_of(self._context, "tool_imports_create", body=body_of(fields))
        return one(self._context, models.Import.of, request)

    @listing
    def versions(
        self, tool_id: str, **filters: Unpack[AdminToolsVersionsQuery]
    ) -> Operation[Page[models.AdminVersion]]:
        """Every version, with where it was."""
        request = request_of(self._context, "admin_tools_versions", {"tool_id": tool_id}, query=filters)
        return many(self._context, models.AdminVersion.of, request)


class AdminTools(AdminToolsSurface, Synchronous):
    """Tools, for admins, of a `Client`."""


class AsyncAdminTools(AdminToolsSurface, Asynchronous):
    """Tools, for admins, of an `AsyncClient`."""


class AdminPlansSurface(Surface):
    """Plans, for admins."""

    @listing
    def list(self, **filters: Unpack[PlansIndexQuery]) -> Operation[Page[models.AdminPlan]]:
        """Plans, inactive ones too."""
        request = request_of(self._context, "plans_index", query=filters)
        return many(self._context, models.AdminPlan.of, request)

    @operation
    def create(self, **fields: Unpack[PlanIn]) -> Operation[models.AdminPlan]:
        """Add one."""
        request = request_of(self._context, "plans_create", body=body_of(fields))
        return one(self._context, models.AdminPlan.of, request)

    @operation
    def get(self, slug: str) -> Operation[models.AdminPlan]:
        """One plan."""
        request = request_of(self._context, "plans_show", {"slug": slug})
        return one(self._context, models.AdminPlan.of, request)

    @operation
    def update(self, slug: str, **fields: Unpack[PlanChanges]) -> Operation[models.AdminPlan]:
        """Change it, for periods from now on."""
        request = request_of(self._context, "plans_edit", {"slug": slug}, body=body_of(fields))
        return one(self._context, models.AdminPlan.of, request)


class AdminPlans(AdminPlansSurface, Synchronous):
    """Plans, for admins, of a `Client`."""


class AsyncAdminPlans(AdminPlansSurface, Asynchronous):
    """Plans, for admins, of an `AsyncClient`."""


class AdminInvocationsSurface(Surface):
    """Invocations of all accounts."""

    @listing
    def list(self, **filters: Unpack[AdminInvocationsIndexQuery]) -> Operation[Page[models.AdminInvocation]]:
        """Newest first."""
        request = request_of(self._context, "admin_invocations_index", query=filters)
        return many(self._context, models.AdminInvocation.of, request)

    @operation
    def get(self, invocation_id: str) -> Operation[models.AdminInvocation]:
        """One, of any account."""
        request = request_of(self._context, "admin_invocations_show", {"invocation_id": invocation_id})
        return one(self._context, models.AdminInvocation.of, request)


class AdminInvocations(AdminInvocationsSurface, Synchronous):
    """Invocations of all accounts, of a `Client`."""


class AsyncAdminInvocations(AdminInvocationsSurface, Asynchronous):
    """Invocations of all accounts, of an `AsyncClient`."""


class AdminAuditSurface(Surface):
    """Who changed what."""

    @listing
    def list(self, **filters: Unpack[AdminAuditIndexQuery]) -> Operation[Page[models.AuditEntry]]:
        """Newest first."""
        request = request_of(self._context, "admin_audit_index", query=filters)
        return many(self._context, models.AuditEntry.of, request)


class AdminAudit(AdminAuditSurface, Synchronous):
    """Who changed what, of a `Client`."""


class AsyncAdminAudit(AdminAuditSurface, Asynchronous):
    """Who changed what, of an `AsyncClient`."""


class AdminPlatformSurface(Surface):
    """How the platform is."""

    @operation
    def stats(self, **filters: Unpack[AdminUsageStatsQuery]) -> Operation[models.PlatformStats]:
        """Totals, series, top tools and accounts."""
        request = request_of(self._context, "admin_usage_stats", query=filters)
        return one(self._context, models.PlatformStats.of, request)

    @operation
    def operations(self) -> Operation[models.Overview]:
        """Queue, workers, sweeps, deliveries, breakers."""
        request = request_of(self._context, "admin_operations_show")
        return one(self._context, models.Overview.of, request)

    @listing
    def verifications(self, **filters: Unpack[AdminOperationsBooksQuery]) -> Operation[Page[models.LedgerVerification]]:
        """The nightly checks of the books."""
        request = request_of(self._context, "admin_operations_books", query=filters)
        return many(self._context, models.LedgerVerification.of, request)


class AdminPlatform(AdminPlatformSurface, Synchronous):
    """How the platform is, of a `Client`."""


class AsyncAdminPlatform(AdminPlatformSurface, Asynchronous):
    """How the platform is, of an `AsyncClient`."""


class Admin(AdminPlatform):
    """What admins may, of a `Client`."""

    def __init__(self, driver: Driven) -> None:
        super().__init__(driver)
        self.users = AdminUsers(driver)
        self.tools = AdminTools(driver)
        self.plans = AdminPlans(driver)
        self.invocations = AdminInvocations(driver)
        self.audit = AdminAudit(driver)


class AsyncAdmin(AsyncAdminPlatform):
    """What admins may, of an `AsyncClient`."""

    def __init__(self, driver: Driven) -> None:
        super().__init__(driver)
        self.users = AsyncAdminUsers(driver)
        self.tools = AsyncAdminTools(driver)
        self.plans = AsyncAdminPlans(driver)
        self.invocations = AsyncAdminInvocations(driver)
        self.audit = AsyncAdminAudit(driver)
