"""Lists: every item exactly once, and cursors are valid only for their list and caller."""

from __future__ import annotations

from urllib.parse import urlsplit
from uuid import UUID

import pytest

from tests.web.conftest import Service
from tests.web.things import TOTAL

LIST = "/api/v1/things"
ME = {"X-Account": str(UUID(int=1))}
OTHER = {"X-Account": str(UUID(int=2))}


def test_walking_by_link_sees_every_item_once(service: Service) -> None:
    seen, path = [], f"{LIST}?limit=10"
    while path:
        response = service("GET", path, headers=ME)
        body = response.json()
        assert body["meta"]["limit"] == 10
        assert body["meta"]["has_more"] == (body["meta"]["next_cursor"] is not None) == ("next" in response.links)
        seen += [int(item["name"]) for item in body["data"]]
        following = urlsplit(response.links["next"]["url"]) if "next" in response.links else None
        path = f"{following.path}?{following.query}" if following else ""
    assert seen == list(range(TOTAL - 1, -1, -1))


def test_the_link_keeps_the_other_parameters_and_is_absolute(service: Service) -> None:
    link = service("GET", f"{LIST}?limit=7", headers=ME).links["next"]["url"]
    assert link.startswith(f"http://localhost:{service.port}{LIST}?limit=7&cursor=")


def test_the_default_limit(service: Service) -> None:
    assert len(service("GET", LIST, headers=ME).json()["data"]) == 20


@pytest.fixture
def cursor(service: Service) -> str:
    return str(service("GET", LIST, headers=ME).json()["meta"]["next_cursor"])


def refusal(service: Service, path: str, cursor: str, headers: dict[str, str]) -> str | None:
    response = service("GET", path, params={"cursor": cursor}, headers=headers)
    return response.json()["code"] if response.status_code == 400 else None


def test_a_cursor_serves_its_list_and_its_account_only(service: Service, cursor: str) -> None:
    """Altered, foreign and made-up cursors."""
    assert refusal(service, LIST, cursor, ME) is None
    assert refusal(service, LIST, cursor, OTHER) == "invalid_cursor"
    assert refusal(service, f"{LIST}/elsewhere", cursor, ME) == "invalid_cursor"


def test_an_altered_cursor_is_refused(service: Service, cursor: str) -> None:
    for position in (0, 21, 22, len(cursor) - 2):
        letter = "A" if cursor[position] != "A" else "B"
        altered = cursor[:position] + letter + cursor[position + 1 :]
        assert refusal(service, LIST, altered, ME) == "invalid_cursor", position
    for other in (cursor + "A", cursor[:-1], cursor + "=", cursor[:22], cursor * 2, "é" * 30, "", " ", "a" * 5_000):
        assert refusal(service, LIST, other, ME) == "invalid_cursor", other


def test_a_cursor_is_url_safe(cursor: str) -> None:
    assert cursor.replace("-", "").replace("_", "").isalnum()
