"""A customer's invocations over HTTP, while the test itself is the worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from common.identity import keys
from common.identity.audit import OPERATOR
from common.settings import Settings
from common.tools import ListedTool
from tests import factories
from tests.factories import Customer
from tests.plain import feed_is_complete
from web.app import create_app

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Api:
    """The API, asked with a key of the customer."""

    http: FlaskClient
    customer: Customer
    key_id: str
    key: str

    def call(self, method: str, path: str, expect: int = 200, **options: Any) -> TestResponse:
        headers = {"X-API-Key": self.key, **options.pop("headers", {})}
        response = self.http.open(f"/api/v1{path}", method=method, headers=headers, **options)
        assert response.status_code == expect, f"{method} {path}: {response.status_code} {response.text[:1000]}"
        return response

    def get(self, path: str, expect: int = 200, **options: Any) -> Any:
        if path.startswith("/events"):
            feed_is_complete()
        return self.call("GET", path, expect, **options).get_json()["data"]

    def post(self, path: str, body: Json | None = None, expect: int = 200, **options: Any) -> Any:
        return self.call("POST", path, expect, json=body or {}, **options).get_json()["data"]

    def problem(self, method: str, path: str, expect: int, **options: Any) -> Json:
        return dict(self.call(method, path, expect, **options).get_json())

    def submit(self, tool: ListedTool, value: Any = None, **body: Any) -> Json:
        return dict(self.post(f"/tools/{tool.slug}/invoke", {"input": value or {}, **body}, 202))

    def shown(self, invocation: Json) -> Json:
        return dict(self.get(f"/invocations/{invocation['id']}"))

    def all(self, path: str) -> list[Json]:
        """Every page of a list, two items each."""
        separator, found, cursor = "&" if "?" in path else "?", [], ""
        while True:
            page = self.call("GET", f"{path}{separator}limit=2{cursor}").get_json()
            found += page["data"]
            if not page["meta"]["has_more"]:
                return found
            cursor = f"&cursor={page['meta']['next_cursor']}"

    def of(self, customer: Customer) -> Api:
        """The same for another customer."""
        key, text = keys.create(customer.user_id, "another", actor=OPERATOR)
        return Api(self.http, customer, str(key.id), text)


@pytest.fixture
def api(db: None, settings: Settings) -> Api:
    customer = factories.customer(at_once=1)
    key, text = keys.create(customer.user_id, "a key", actor=OPERATOR)
    return Api(create_app(settings).test_client(), customer, str(key.id), text)
