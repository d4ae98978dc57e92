"""An admin of the running platform."""

from __future__ import annotations

from uuid import UUID

import pytest

from common.identity import accounts
from common.identity.audit import OPERATOR
from dev.platform import Platform
from tests.client import Client, Json


class Admin(Client):
    """A client whose account is an admin."""

    def join(self, plan: str | None = None) -> Admin:
        super().join(plan)
        accounts.administer(UUID(self.id), actor=OPERATOR, role="admin")
        return self

    def done_to(self, target: object, **filters: str) -> list[Json]:
        """The audit log entries of a target, oldest first."""
        return list(reversed(self.data("GET", "/admin/audit", params={"target": str(target), **filters})))


@pytest.fixture
def admin(hub: Platform) -> Admin:
    return Admin(hub.url).join()
