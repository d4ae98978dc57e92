"""A customer's account with keys of several kinds, over HTTP; the test itself is the worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from common import invocations
from common.identity import accounts, keys
from common.identity.authorization import Caller
from common.invocations import ClaimOptions, Completion
from common.operations import ledger
from common.settings import Settings
from tests import factories
from tests.factories import Customer
from web.app import create_app

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered."""

    status: int
    body: Json

    @property
    def data(self) -> Any:
        assert self.status < 300, self.body
        return self.body["data"]

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.body["code"]


@dataclass(frozen=True, slots=True)
class Key:
    """A credential of the customer: a key, or the session."""

    account: Account
    id: str
    text: str

    def __call__(self, method: str, path: str, **options: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.text}", **options.pop("headers", {})}
        if method == "POST":
            options.setdefault("json", {})
        response = self.account.http.open(f"/api/v1{path}", method=method, headers=headers, **options)
        return Answer(response.status_code, response.get_json(silent=True) or {})

    def submit(self, tool: Any, **body: Any) -> Answer:
        """Submit with this key; 10 tokens are held unless the tool or `max_tokens` says otherwise."""
        slug = tool if isinstance(tool, str) else tool.slug
        return self("POST", f"/tools/{slug}/invoke", json={"input": {}, **body})

    @property
    def allowance(self) -> Json | None:
        """As the key itself is told."""
        found: Json | None = self("GET", "/users/me").data["credential"]["allowance"]
        return found

    @property
    def caller(self) -> Caller:
        return keys.authenticate(self.text)


@dataclass(frozen=True, slots=True)
class Account:
    """A customer who is logged in."""

    http: FlaskClient
    customer: Customer
    access: str

    @property
    def session(self) -> Key:
        return Key(self, "", self.access)

    def key(self, tokens: int | None = None, window: str = "total", **body: Any) -> Key:
        """A new key, with an allowance if `tokens` says so."""
        if tokens is not None:
            body["allowance"] = {"tokens": tokens, "window": window}
        made = self.session("POST", "/users/me/api-keys", json={"name": "a key", **body}).data
        return Key(self, made["id"], made["key"])

    def revoke(self, key: Key) -> None:
        assert self.session("DELETE", f"/users/me/api-keys/{key.id}").status == 204

    def listed(self, key: Key) -> Json:
        """A key as the list shows it."""
        (found,) = (each for each in self.session("GET", "/users/me/api-keys").data if each["id"] == key.id)
        return dict(found)

    def right(self) -> None:
        """The books are: rows, sums and what Redis has agree."""
        assert ledger.verify().differences == ()


@dataclass(slots=True)
class Work:
    """A worker that takes one invocation at a time, in the order in which they may start."""

    options: ClaimOptions

    def end(self, cost: int = 1, *, good: bool = True) -> UUID:
        """Complete the next one; returns its id."""
        task = factories.taken(self.options)
        completion = Completion("succeeded", {"ok": True}, cost, http_status=200, duration_ms=3)
        invocations.complete(task, completion if good else factories.BAD, self.options)
        return task.id


@pytest.fixture(scope="module")
def http(settings: Settings) -> Iterator[FlaskClient]:
    yield create_app(settings).test_client()


@pytest.fixture
def account(db: None, http: FlaskClient, hurried: None) -> Account:
    return joined(http, factories.customer(1_000))


def joined(http: FlaskClient, customer: Customer) -> Account:
    """The customer's account, with a session."""
    email = accounts.get(customer.user_id).email
    answer = http.post("/api/v1/auth/login", json={"email": email, "password": factories.PASSWORD})
    return Account(http, customer, answer.get_json()["data"]["access_token"])


@pytest.fixture
def work(db: None) -> Work:
    return Work(ClaimOptions(factories.worker().worker, take_next=False))
