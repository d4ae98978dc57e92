"""The platform through PgBouncer in transaction mode, as `ops/pgbouncer` configures it. Skipped where there is none.

`POOLING=transaction make test` runs all other tests through it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from common.kit import db as db_kit
from common.operations import doctor
from common.settings import Settings
from dev import platform as parts
from dev.pgbouncer import PgBouncer
from dev.platform import Platform
from dev.servers import ServerError
from tests import factories
from tests.budgets import world
from tests.client import Client, eventually
from tests.outside.receiver import Receiver
from tests.outside.tool import Tool
from tests.plain import plain
from tests.platforms import running
from tests.working import working

#: Fewer than ask for one.
CONNECTIONS = 3


@pytest.fixture(scope="module")
def pgbouncer(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PgBouncer]:
    try:
        server = PgBouncer(tmp_path_factory.mktemp("pooler"), database_url, connections=CONNECTIONS)
    except ServerError as reason:
        pytest.skip(str(reason))
    server.start()
    server.wait()
    yield server
    server.stop()


@pytest.fixture
def through(db: None, pgbouncer: PgBouncer, settings: Settings) -> Iterator[None]:
    """All connections of this process go through it."""
    db_kit.connect(pgbouncer.url(), pool_size=20, application_name="test", shared=True)
    yield
    shared = settings.shares_connections
    db_kit.connect(settings.database_url, pool_size=20, application_name="test", shared=shared)


def test_many_submits_and_their_ends_through_few_connections(through: None, tool: Tool) -> None:
    customer, listed = factories.customer(), factories.tool(endpoint_url=f"{tool.url}/echo")
    with working(), ThreadPoolExecutor(12) as threads:
        made = set(threads.map(lambda _: customer.submit(listed), range(60)))
        eventually("all ends", 60, lambda: not world.open_rows())
    assert len(made) == 60
    assert {row.status for row in plain(text("select status from invocations"), {})} == {"succeeded"}


def limits(settings: Settings) -> doctor.CheckResult:
    return next(result for result in doctor.run_checks(settings) if result.name == "connection limits")


def test_the_doctor_knows_if_waits_are_as_limited_as_without_it(
    through: None, settings: Settings, database_url: str
) -> None:
    assert limits(settings) == doctor.CheckResult("connection limits", True, "all set")
    db_kit.connect(database_url, pool_size=20, application_name="test", shared=True)  # nobody sets them here
    assert limits(settings).passed is False
    assert "lock_timeout = 5000, statement_timeout = 15000. With PgBouncer" in limits(settings).detail


def test_a_lock_is_one_processs_whoever_has_the_connection_next(through: None) -> None:
    with db_kit.advisory_lock(7) as mine:
        assert mine
        for _ in range(2 * CONNECTIONS):
            with db_kit.advisory_lock(7) as others, db_kit.advisory_lock(8) as another:
                assert (others, another) == (False, True)
    with pytest.raises(LookupError), db_kit.advisory_lock(7) as again:
        assert again
        raise LookupError
    with db_kit.advisory_lock(7) as free:
        assert free


def test_a_commit_whose_connection_the_pooler_lost_may_have_happened(through: None, database_url: str) -> None:
    customer = factories.customer()
    with (
        psycopg.connect(database_url, autocommit=True) as direct,
        pytest.raises(db_kit.CommitUnknown),
        db_kit.transaction() as session,
    ):
        [pid] = session.execute(text("select pg_backend_pid()")).scalars()
        session.execute(text("update users set name = 'x' where id = :id"), {"id": customer.user_id})
        direct.execute("select pg_terminate_backend(%s)", [pid])
        eventually("it is gone", 30, lambda: not _lives(direct, pid))


def test_a_statement_whose_connection_the_pooler_lost_may_have_been_carried_out(through: None) -> None:
    ending = text("select pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(db_kit.CommitUnknown):
        db_kit.rowcount(ending, {})


def _lives(direct: psycopg.Connection[tuple[object, ...]], pid: int) -> bool:
    return bool(direct.execute("select 1 from pg_stat_activity where pid = %s", [pid]).fetchall())


@pytest.fixture
def behind(
    db: None, pgbouncer: PgBouncer, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """Web and workers whose connections go through it."""
    pooled = {"DATABASE_URL": pgbouncer.url(), "DATABASE_POOLING": "transaction"}
    workers = (parts.worker("invocations", 8), parts.worker("webhooks", 4), parts.worker("sweeps", 4))
    with running({**environ, **pooled}, tmp_path_factory.mktemp("log"), *workers) as hub:
        yield hub


def test_the_main_job_and_a_pooler_that_is_started_again(
    behind: Platform, pgbouncer: PgBouncer, offer: Callable[..., str], receiver: Receiver
) -> None:
    client, slug = Client(behind.url).join("pro"), offer()
    first = client.invoke(slug, {"text": "hi"}, webhook_url=f"{receiver.url}/hook")
    assert client.ended(first["id"])["status"] == "succeeded"
    receiver.wait(1, timeout=30)
    accepted = [client.invoke(slug, {"text": str(n)})["id"] for n in range(10)]
    pgbouncer.kill()
    pgbouncer.start()
    pgbouncer.wait()
    assert {client.ended(id_)["status"] for id_ in accepted} == {"succeeded"}
    assert {row.id for row in plain(text("select id from invocations"), {})} == {
        UUID(first["id"]),
        *map(UUID, accepted),
    }
