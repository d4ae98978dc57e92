"""Reads from a streaming replica: never an older state than was committed before, whatever becomes of the replica."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from common import invocations, subscriptions, usage, webhooks
from common.identity import audit
from common.identity.accounts import directory
from common.kit import db as db_kit
from common.kit.db import pool, replica
from common.kit.paging import Window
from common.operations import doctor
from common.settings import Settings
from dev import platform as parts
from dev.platform import Platform
from dev.servers import Postgres
from dev.standby import Standby, configure
from tests import factories
from tests.client import Client, eventually
from tests.factories import Customer
from tests.ops.scrape import Scrape
from tests.platforms import running
from tests.queue.proxy import Proxy

T = TypeVar("T")
NOWHERE = UUID(int=0)
OUTCOMES = ("replica", "behind", "skipped", "unreachable", "canceled", "other", "ahead", "failed")


def name_of(url: str) -> str:
    return urlsplit(url).path.lstrip("/")


def primary_of(url: str) -> Postgres:
    """The server that all tests share."""
    return Postgres(Path(parse_qs(urlsplit(url).query)["host"][0]).parent, durable=False)


def tell(server: Standby, statement: str, database: str = "postgres") -> None:
    with psycopg.connect(server.url(database), autocommit=True) as connection:
        connection.execute(statement)


def value(server: Standby, question: str, database: str = "postgres") -> object:
    with psycopg.connect(server.url(database), autocommit=True) as connection:
        [(found,)] = connection.execute(question).fetchall()
    return found


@pytest.fixture(scope="module")
def standby(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standby]:
    """Of the server that has the test's database."""
    server = Standby(tmp_path_factory.mktemp("standby"), primary_of(database_url))
    server.start()
    server.wait()
    yield server
    server.stop()


@pytest.fixture
def url(standby: Standby, database_url: str) -> str:
    return standby.url(name_of(database_url))


@pytest.fixture
def copied(db: None, settings: Settings, url: str, standby: Standby) -> Iterator[None]:
    """This process reads from the replica too, which is in step."""
    connect(settings.database_url, url, settings)
    eventually("it is in step", 90, lambda: seen(lambda: directory.listing(Window()))[1] == "replica")
    yield
    tell(standby, "select pg_wal_replay_resume()")
    connect(settings.database_url, None, settings)


def connect(primary: str, other: str | None, settings: Settings) -> None:
    shared = settings.shares_connections
    db_kit.connect(primary, pool_size=20, application_name="test", shared=shared, replica_url=other)


def counted() -> dict[str, float]:
    return {outcome: replica.READS.labels(outcome)._value.get() for outcome in OUTCOMES}


def seen(read: Callable[[], T]) -> tuple[T, str]:
    """What one read returns, and where it was answered, or why not by the replica."""
    before = counted()
    found = read()
    [outcome] = [outcome for outcome, count in counted().items() if count != before[outcome]]
    return found, outcome


def by_replica(read: Callable[[], T]) -> T:
    """What the replica says, once it is in step (on a busy machine that may take a moment)."""

    def answer() -> tuple[T] | None:
        found, outcome = seen(read)
        return (found,) if outcome == "replica" else None

    found: tuple[T] = eventually("the replica answers", 30, answer)
    return found[0]


def ended(customer: Customer) -> None:
    worker = factories.worker()
    invocations.complete(factories.taken(worker), factories.GOOD, worker)


def runs(customer: Customer) -> set[object]:
    return {each.id for each in invocations.listing(customer.user_id, Window()).items}


NOW = datetime.now(UTC)
READS: dict[str, Callable[[Customer], object]] = {
    "invocations": lambda it: invocations.listing(it.user_id, Window()),
    "failures": lambda it: invocations.failures(it.user_id, Window()),
    "usage": lambda it: usage.history(it.user_id, Window()),
    "by status": lambda it: usage.history(it.user_id, Window(), usage.Filter(statuses=frozenset({"error"}))),
    "summary": lambda it: summary(it).totals,
    "by tool": lambda it: summary(it, group_by="tool", stacked=True).groups,
    "by end user": lambda it: summary(it, group_by="end_user").groups,
    "statistics": lambda _: usage.stats(NOW - timedelta(days=1), NOW + timedelta(days=1)),
    "course": lambda it: usage.course(it.user_id, it.period_id, NOW),
    "of keys": lambda it: usage.tokens_by_key(it.user_id, NOW),
    "statement": lambda it: subscriptions.statement(it.user_id),
    "periods": lambda it: subscriptions.listing(it.user_id, Window()),
    "deliveries": lambda _: webhooks.deliveries_of(NOWHERE, Window()),
    "audit log": lambda _: [entry.id for entry in audit.entries(Window()).items],
    "accounts": lambda _: [listed.user.id for listed in directory.listing(Window()).items],
}


def summary(customer: Customer, **wanted: object) -> usage.Summary:
    return usage.summary(customer.user_id, NOW - timedelta(days=1), NOW + timedelta(days=1), **wanted)  # type: ignore[arg-type]


def test_what_the_replica_answers_is_what_the_primary_does(copied: None, settings: Settings, url: str) -> None:
    customer, tool = factories.customer(), factories.tool()
    for _ in range(3):
        customer.submit(tool, end_user="theirs")
    ended(customer)
    usage.rollup()
    ended(customer)
    copies = {name: by_replica(lambda read=read: read(customer)) for name, read in READS.items()}  # type: ignore[misc]
    exported = by_replica(lambda: list(usage.export(customer.user_id, batch=10)))
    connect(settings.database_url, None, settings)
    assert copies == {name: read(customer) for name, read in READS.items()}
    assert exported == list(usage.export(customer.user_id))
    assert len(exported) == 2


def test_what_was_just_committed_is_seen_while_the_replica_lags(copied: None, standby: Standby) -> None:
    customer, tool = factories.customer(), factories.tool()
    assert by_replica(lambda: runs(customer)) == set()
    tell(standby, "select pg_wal_replay_pause()")
    made = {customer.submit(tool)}
    assert seen(lambda: runs(customer)) == (made, "behind")
    made.add(customer.submit(tool))
    assert seen(lambda: runs(customer)) == (made, "skipped")
    connected().behind.end()
    assert seen(lambda: runs(customer)) == (made, "behind")
    tell(standby, "select pg_wal_replay_resume()")
    assert by_replica(lambda: runs(customer)) == made


def connected() -> pool.Replica:
    found = pool.replica()
    assert found is not None
    return found


def test_nothing_more_is_asked_for_a_submit_and_an_end(copied: None) -> None:
    customer, tool, before = factories.customer(), factories.tool(), counted()
    made = customer.submit(tool)
    ended(customer)
    assert invocations.get(made, customer.user_id).status == "succeeded"
    assert counted() == before


def test_a_summary_is_complete_up_to_what_runs_on_the_primary(copied: None, database_url: str) -> None:
    """The replica does not know of a transaction that has not ended."""
    customer = factories.customer()
    with psycopg.connect(database_url) as connection:
        [(begun,)] = connection.execute("select now() from pg_sleep(0.2)").fetchall()  # more than a summary leaves out
        assert by_replica(lambda: summary(customer)).complete_through <= begun
    assert eventually("it has ended", 30, lambda: by_replica(lambda: summary(customer)).complete_through > begun)


def test_a_replica_that_dies_and_comes_back(copied: None, standby: Standby, hurried: None) -> None:
    customer, tool = factories.customer(), factories.tool()
    made = {customer.submit(tool)}
    assert by_replica(lambda: runs(customer)) == made
    standby.kill()
    try:
        # What the server has started may answer for a moment after it.
        eventually("it is missed", 30, lambda: seen(lambda: runs(customer)) == (made, "unreachable"))
        assert seen(lambda: runs(customer)) == (made, "skipped")
    finally:
        standby.start_again()
        standby.wait()
    made.add(customer.submit(tool))
    connected().failed.end()
    assert by_replica(lambda: runs(customer)) == made


@pytest.mark.parametrize(
    "canceled", ["set local statement_timeout = '10ms'; select pg_sleep(60)", "select pg_sleep(60)"]
)
def test_what_the_replica_cancels_is_read_from_the_primary(
    copied: None, standby: Standby, database_url: str, canceled: str
) -> None:
    """By its limit of time, and because what it replays removes what is being read."""
    with psycopg.connect(database_url, autocommit=True) as primary:
        primary.execute("drop table if exists read_meanwhile; create table read_meanwhile (x int)")
        configure(standby, "max_standby_streaming_delay", "10ms")

        def work(session: Session) -> bool:
            if not session.scalar(text("select pg_is_in_recovery()")):
                return True
            session.execute(text("select * from read_meanwhile"))
            if "timeout" not in canceled:
                primary.execute("drop table read_meanwhile")
            session.execute(text(canceled))
            return False

        assert eventually("it is canceled", 30, lambda: seen(lambda: db_kit.read_anywhere(work)) == (True, "canceled"))
        assert not connected().skipped()
        primary.execute("drop table if exists read_meanwhile")


def test_what_is_no_replica_of_this_database_is_not_asked(
    copied: None, settings: Settings, standby: Standby, database_url: str
) -> None:
    customer = factories.customer()
    for other in (database_url, standby.url("postgres")):
        connect(settings.database_url, other, settings)
        assert seen(lambda: runs(customer)) == (set(), "other")
        assert seen(lambda: runs(customer)) == (set(), "skipped")


def test_without_the_primary_nothing_is_read(copied: None, settings: Settings, url: str) -> None:
    """The replica could: but nobody knows what it lacks."""
    customer = factories.customer()
    with Proxy(settings.database_url) as proxy:
        connect(proxy.url, url, settings)
        assert by_replica(lambda: runs(customer)) == set()
        proxy.cut_after(0)
        with pytest.raises(db_kit.Unreachable):
            runs(customer)


def test_a_replica_that_did_not_follow_a_failover_is_not_asked(
    copied: None, settings: Settings, database_url: str, tmp_path: Path
) -> None:
    """It is further than the new primary, on the timeline that was left."""
    primary, name = primary_of(database_url), name_of(database_url)
    promoted, left = Standby(tmp_path / "promoted", primary), Standby(tmp_path / "left", primary)
    for server in (promoted, left):
        server.start()
        server.wait()
    try:
        promoted.promote()
        with psycopg.connect(database_url, autocommit=True) as old:
            old.execute("select pg_logical_emit_message(true, 'far', repeat('x', 10000000))")
        connect(promoted.url(name), left.url(name), settings)
        customer = factories.customer()
        made = {customer.submit(factories.tool())}
        eventually("it is further", 30, lambda: further(left, promoted))
        assert seen(lambda: runs(customer)) == (made, "other")
        connect(promoted.url(name), promoted.url(name), settings)
        assert seen(lambda: runs(customer)) == (made, "other")
        connect(left.url(name), left.url(name), settings)
        assert seen(lambda: runs(customer)) == (set(), "other")
    finally:
        for server in (promoted, left):
            server.stop()


def test_a_commit_that_waits_for_a_standby_is_shown_by_nobody(
    copied: None, settings: Settings, database_url: str, tmp_path: Path
) -> None:
    """The replica has it already; what is not acknowledged may be lost."""
    name = name_of(database_url)
    primary = Standby(tmp_path / "primary", primary_of(database_url))
    waiting = Standby(tmp_path / "waiting", primary)

    def names() -> set[str]:
        return {listed.user.name for listed in directory.listing(Window()).items}

    try:
        primary.start()
        primary.wait()
        primary.promote()
        waiting.start()
        waiting.wait()
        connect(primary.url(name), waiting.url(name), settings)
        factories.user()
        old = by_replica(names)
        configure(primary, "synchronous_standby_names", "none")
        eventually("commits wait", 30, lambda: value(primary, "show synchronous_standby_names") == "none")
        assert by_replica(names) == old
        with ThreadPoolExecutor(1) as threads:
            renamed = threads.submit(tell, primary, "update users set name = 'renamed'", name)
            try:
                eventually("it is copied", 30, lambda: value(waiting, "select max(name) from users", name) == "renamed")
                connected().behind.end()
                assert seen(names) == (old, "ahead")
                # A later one that does not wait.
                tell(primary, "set synchronous_commit = local; select pg_current_xact_id()")
                connected().behind.end()
                assert seen(names) == (old, "ahead")
            finally:
                configure(primary, "synchronous_standby_names", "")
            renamed.result(30)
        assert by_replica(names) == {"renamed"}
    finally:
        for server in (waiting, primary):
            server.stop()


def further(one: Standby, other: Standby) -> bool:
    with psycopg.connect(one.url("postgres")) as here, psycopg.connect(other.url("postgres")) as there:
        [(at,)] = here.execute("select pg_last_wal_replay_lsn()::text").fetchall()
        [(is_further,)] = there.execute("select pg_current_wal_flush_lsn() < %s::pg_lsn", [at]).fetchall()
    return bool(is_further)


def check(settings: Settings, name: str = "read replica") -> doctor.CheckResult:
    return next(result for result in doctor.run_checks(settings) if result.name == name)


def test_the_doctor_knows_if_waits_are_as_limited_there(copied: None, settings: Settings, url: str) -> None:
    """Where connections are shared, a PgBouncer in front of the replica has to set them."""
    limited = check(settings, "connection limits").passed
    assert limited is not settings.shares_connections
    db_kit.connect(settings.database_url, pool_size=2, application_name="test", shared=True, replica_url=url)
    assert "lock_timeout = 5000 (replica)" in check(settings, "connection limits").detail


def test_the_doctor_knows_the_replica(copied: None, settings: Settings, standby: Standby) -> None:
    assert "bytes behind" in check(settings).detail
    connect(settings.database_url, standby.url("postgres"), settings)
    assert check(settings).passed is False
    connect(settings.database_url, None, settings)
    assert check(settings) == doctor.CheckResult("read replica", True, "none: the primary answers every read")


@pytest.fixture
def hub(
    copied: None, environ: dict[str, str], url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """Web and a worker that have the replica too."""
    env = {**environ, "DATABASE_REPLICA_URL": url}
    with running(env, tmp_path_factory.mktemp("log"), parts.worker("invocations", 8)) as platform:
        yield platform


def test_over_http_with_a_replica_in_step_then_paused_then_dead(
    hub: Platform, standby: Standby, offer: Callable[..., str]
) -> None:
    client, slug = Client(hub.url).join("pro"), offer()

    def runs_and_is_listed() -> bool:
        made = client.invoke(slug, {"text": "hi"})["id"]
        assert client.data("GET", "/invocations")[0]["id"] == made
        charged = client.ended(made)["billing"]["charged"]
        assert [entry["tokens_used"] for entry in client.data("GET", "/usage") if entry["invocation_id"] == made] == [
            charged
        ]
        assert client.data("GET", "/subscriptions/statement")["charged"] >= charged
        return True

    eventually("the replica answers", 30, lambda: runs_and_is_listed() and reads(hub, "replica") > 2)
    assert Scrape(hub.url).series("joyfull_db_replica_behind_bytes")
    tell(standby, "select pg_wal_replay_pause()")
    eventually("it is behind", 30, lambda: runs_and_is_listed() and reads(hub, "behind") > 0)
    standby.kill()
    eventually("it is missed", 30, lambda: runs_and_is_listed() and reads(hub, "unreachable") > 0)
    standby.start_again()
    standby.wait()
    client.http.close()


def reads(hub: Platform, outcome: str) -> float:
    return Scrape(hub.url).value("joyfull_db_replica_reads_total", outcome=outcome)
