"""`If-None-Match` on an invocation: 304 while nothing in the representation has changed (RFC 9110 §13.1.2)."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient

from common import invocations
from common.identity import keys
from common.identity.audit import OPERATOR
from common.settings import Settings
from tests import factories
from web.app import create_app


def read(client: FlaskClient, path: str, headers: dict[str, str], tag: str | None = None) -> Any:
    return client.get(path, headers={**headers, **({"If-None-Match": tag} if tag else {})})


def test_a_tag_stands_until_something_changes(db: None, settings: Settings) -> None:
    client, customer, tool = create_app(settings).test_client(), factories.customer(), factories.tool()
    headers = {"X-API-Key": keys.create(customer.user_id, "reading", actor=OPERATOR)[1]}
    path = f"/api/v1/invocations/{customer.submit(tool)}"
    tags: list[str] = []

    def changed() -> None:
        first = read(client, path, headers, tags[-1] if tags else None)
        assert first.status_code == 200, "something has changed"
        tags.append(first.headers["ETag"])
        again = read(client, path, headers, tags[-1])
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tags[-1])

    changed()
    task = factories.taken(factories.worker())
    changed()
    invocations.complete(task, factories.GOOD, factories.worker())
    changed()
    assert len(set(tags)) == 3
