"""An account, a receiver over real HTTP, and a sender: the worker's own loop, run by the test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
from sqlalchemy import text

from common import boot, webhooks
from common.identity import audit, keys
from common.kit import clock, db
from common.models.accounts import User
from tests.outside.receiver import Receiver
from tests.outside.server import Request
from tests.plain import plain
from tests.web.conftest import serving
from worker.delivery import Sender

Endpoint = Callable[..., webhooks.CreatedEndpoint]


@pytest.fixture
def user_id(db: None) -> UUID:
    return make_user()


def make_user() -> UUID:
    email = f"{uuid4().hex}@example.com"
    row = User(id=clock.uuid7(), email=email, email_key=email, name="Ada", password_hash="x")
    with db.transaction() as session:
        session.add(row)
    return row.id


@pytest.fixture
def endpoint(user_id: UUID, receiver: Receiver) -> Endpoint:
    """Make an endpoint at a path of the receiver: `endpoint("/a", events=["budget.threshold"])`."""

    def make(path: str = "/hook", **options: Any) -> webhooks.CreatedEndpoint:
        options.setdefault("events", ["budget.threshold"])
        return webhooks.create(user_id, boot.outbound(), url=f"{receiver.url}{path}", **options)

    return make


@pytest.fixture
def sender(db: None) -> Sender:
    return Sender(boot.outbound(), threads=20)


class Api:
    """The API of a running web process, with an account's key."""

    def __init__(self, base: str, key: str) -> None:
        self.base, self.key = base, key

    def __call__(self, method: str, path: str, status: int, /, **body: Any) -> Any:
        """The whole JSON answer, once its status is what was expected."""
        answer = requests.request(
            method,
            f"{self.base}/api/v1{path}",
            headers={"X-API-Key": self.key},
            json=body if method in {"POST", "PATCH"} else None,
            timeout=20,
        )
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None


@pytest.fixture(scope="session")
def _web(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(environ, tmp_path_factory.mktemp("web"), app="wsgi:app") as service:
        yield service.base


@pytest.fixture
def api(user_id: UUID, _web: str) -> Api:
    return api_of(_web, user_id)


@pytest.fixture
def other(db: None, _web: str) -> Api:
    """Somebody else."""
    return api_of(_web, make_user())


def api_of(base: str, user_id: UUID) -> Api:
    return Api(base, keys.create(user_id, "test", actor=audit.OPERATOR)[1])


def happen(user_id: UUID, **data: Any) -> UUID:
    """Something that webhooks tell of."""
    with db.transaction() as session:
        return webhooks.record(session, user_id, "budget.threshold", data or {"percent": 80})


def sql(statement: str, **values: Any) -> list[Any]:
    """What only the owner of the database may do, such as moving time."""
    return plain(text(statement), values)


def pass_time(interval: str) -> None:
    """Let `interval` go by, as far as webhooks can tell: every moment in the rows moves into the past."""
    for table, columns in {
        "deliveries": ("due_at", "lease_until", "created_at", "finished_at"),
        "delivery_attempts": ("at",),
        "webhook_endpoints": ("failing_since", "previous_until"),
        "webhook_default_secrets": ("previous_until",),
        "events": ("created_at",),
    }.items():
        moved = ", ".join(f"{column} = {column} - cast(:interval as interval)" for column in columns)
        sql(f"update {table} set {moved}", interval=interval)


def settled(within: float = 60.0) -> None:
    """Wait until the feed shows every event: it waits for older transactions, also those in other databases."""
    hidden = """
        select 1 from events where xid >= pg_snapshot_xmin(pg_current_snapshot())
           and era >= coalesce(pg_sequence_last_value('feed_era'::regclass), 0) limit 1
    """
    give_up = time.monotonic() + within
    while sql(hidden):
        assert time.monotonic() < give_up, "a transaction stays open"
        time.sleep(0.01)


def statuses() -> list[str]:
    """Of every delivery, in the order of their making."""
    return [row.status for row in sql("select status from deliveries order by id")]


def headers(request: Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers}


def signatures(request: Request) -> Sequence[str]:
    return headers(request)["webhook-signature"].split(" ")
