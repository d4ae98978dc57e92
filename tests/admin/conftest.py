"""An admin of the running platform."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest

from common.identity import accounts
from common.identity.audit import OPERATOR
from dev.platform import Platform
from tests.client import Client, Json
from tests.outside.tool import Tool

FREE = {"base_tokens": 0, "max_tokens": 0}


class Admin(Client):
    """A client whose account is an admin."""

    def join(self, plan: str | None = None) -> Admin:
        super().join(plan)
        accounts.administer(UUID(self.id), actor=OPERATOR, role="admin")
        return self

    def done_to(self, target: object, **filters: str) -> list[Json]:
        """The audit log entries of a target, oldest first."""
        return list(reversed(self.data("GET", "/admin/audit", params={"target": str(target), **filters})))


class Catalogue:
    """Tools that respond with exactly what they are given."""

    def __init__(self, admin: Admin, client: Client, tool: Tool) -> None:
        self._admin, self._client, self._tool = admin, client, tool
        self._made = 0

    def add(self, path: str = "/garbage", query: dict[str, Any] | None = None, **fields: Any) -> Json:
        self._made += 1
        url = f"{self._tool.url}{path}" + (f"?{urlencode(query)}" if query else "")
        entry = {"slug": f"t{self._made}", "name": "T", "endpoint_url": url, "input_schema": {}, "price": FREE}
        return dict(self._admin.data("POST", "/admin/tools", 201, json={**entry, "idempotent": True, **fields}))

    def both(self, tool: Json, value: Any = None, **body: Any) -> tuple[Json, Json]:
        """The ended invocation, and the result of the admin's trial call."""
        accepted = self._client.invoke(tool["slug"], value, **body)
        trial = self._admin.data("POST", f"/admin/tools/{tool['id']}/test", json={"input": value})
        return self._client.ended(accepted["id"]), trial


@pytest.fixture
def admin(hub: Platform) -> Admin:
    return Admin(hub.url).join()


@pytest.fixture
def catalogue(admin: Admin, client: Client, tool: Tool) -> Catalogue:
    return Catalogue(admin, client, tool)
