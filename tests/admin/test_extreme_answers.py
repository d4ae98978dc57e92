"""Tools that cost nothing, and answers at the ends of what JSON and HTTP can say."""

from __future__ import annotations

from tests.admin.conftest import Catalogue
from tests.client import Client


def test_a_free_tool_gives_its_slot_back(catalogue: Catalogue, client: Client) -> None:
    tool = catalogue.add("/echo")
    key = client.data("POST", "/users/me/api-keys", 201, json={"name": "k", "max_concurrency": 1})["key"]
    path, headers = f"/tools/{tool['slug']}/invoke", {"Authorization": f"Bearer {key}", "Prefer": "wait=10"}
    calls = [client.data("POST", path, (200, 202), json={"input": {}}, headers=headers) for _ in range(3)]
    assert [call["status"] for call in calls] == ["succeeded"] * 3
