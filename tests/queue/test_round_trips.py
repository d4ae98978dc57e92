"""How often PostgreSQL and Redis are asked for one submit, one run, one read. The same on every machine.

Counted is what the drivers send, once everything is warm. Left out is what a process asks once a second, however much
it does: the terms of an account, and the view of all breakers (a pipeline).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest
import redis.connection
from flask.testing import FlaskClient
from sqlalchemy import text

from common import invocations
from common.identity import keys
from common.identity.audit import OPERATOR
from common.kit import db as kit
from common.kit import redis as redis_kit
from common.kit.db.pool import engine
from common.queueing import messages
from common.settings import Settings
from tests import factories
from tests.client import eventually
from tests.outside.tool import Tool
from web.app import create_app
from worker import concurrency, heartbeat, runner, running, sweeper

EACH_SECOND = "from periods p join plans"


@dataclass(slots=True)
class Trips:
    """What was sent: the first words of each statement, and the names of scripts and commands."""

    statements: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def clear(self) -> None:
        self.statements.clear()
        self.commands.clear()


@pytest.fixture
def trips(db: None, monkeypatch: pytest.MonkeyPatch) -> Trips:
    counted = Trips()
    execute: Any = psycopg.Cursor.execute
    send: Any = redis.connection.AbstractConnection.send_command
    pipeline: Any = redis.client.Pipeline.execute

    def executing(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        text = query if isinstance(query, str) else query.decode() if isinstance(query, bytes) else EACH_SECOND
        if EACH_SECOND not in (words := " ".join(text.split())):
            counted.statements.append(words)
        return execute(self, query, *args, **kwargs)

    def sending(self: Any, *args: Any, **kwargs: Any) -> Any:
        if args[0] not in ("HELLO", "CLIENT"):  # a new connection's, of which a pool makes one now and then
            counted.commands.append(scripts().get(args[1], "?") if args[0] == "EVALSHA" else str(args[0]))
        return send(self, *args, **kwargs)

    def sending_several(self: Any, *args: Any, **kwargs: Any) -> Any:
        names = [scripts().get(str(each[0][1]), "?") for each in self.command_stack if each[0][0] == "EVALSHA"]
        if names:  # else it is what a process asks once a second
            counted.commands.append("+".join(names))
        return pipeline(self, *args, **kwargs)

    monkeypatch.setattr(redis.client.Pipeline, "execute", sending_several)
    monkeypatch.setattr(psycopg.Cursor, "execute", executing)
    monkeypatch.setattr(redis.connection.AbstractConnection, "send_command", sending)
    return counted


def scripts() -> dict[str, str]:
    """Names by digest."""
    return {redis_kit.source(path.stem)[1]: path.stem for path in redis_kit.LUA.glob("*.lua")}


@pytest.fixture
def client(db: None, settings: Settings) -> Iterator[FlaskClient]:
    yield create_app(settings).test_client()


def test_a_submit_is_one_statement_and_two_scripts_and_a_read_one_of_each(trips: Trips, client: FlaskClient) -> None:
    customer, tool = factories.customer(), factories.tool()
    _, key = keys.create(customer.user_id, "counting", actor=OPERATOR)
    headers = {"X-API-Key": key}

    def submit() -> str:
        answer = client.post(f"/api/v1/tools/{tool.slug}/invoke", json={"input": {}}, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json["data"]["id"])  # type: ignore[index]

    def read(invocation_id: str) -> None:
        assert client.get(f"/api/v1/invocations/{invocation_id}", headers=headers).status_code == 200

    for _ in range(3):
        read(submit())
    trips.clear()
    made = submit()
    assert len(trips.statements) == 1, trips.statements
    assert "insert into invocations" in trips.statements[0]
    assert trips.commands == ["hold", "notify"], trips.commands
    trips.clear()
    read(made)
    assert len(trips.statements) == 1, trips.statements
    assert trips.commands == ["auth_read"], trips.commands


def test_allowances_cost_no_further_trip(trips: Trips, client: FlaskClient, tool: Tool) -> None:
    """Nor does a line of keys: the same scripts and the same statements, with more arguments."""
    quick = factories.tool(endpoint_url=f"{tool.url}/echo")
    customer = factories.delegated(factories.keyed(factories.customer(), 1_000, "day"), 900)
    headers, me = {"X-API-Key": customer.key}, heartbeat.WorkerProcess()
    me._heartbeat()
    for trip in range(4):
        trips.clear()
        answer = client.post(f"/api/v1/tools/{quick.slug}/invoke", json={"input": {}}, headers=headers)
        assert answer.status_code == 202, answer.text
        submitted = list(trips.statements), list(trips.commands)
        trips.clear()
        if trip < 3:
            runner.work(me)
    assert len(submitted[0]) == 1, submitted
    assert submitted[1] == ["hold", "notify"], submitted
    redis_kit.client().delete(messages.QUEUES[messages.RUN_INVOCATION])
    trips.clear()
    runner.work(me)
    assert trips.commands == ["settle"], trips.commands
    assert len(trips.statements) == 2, "taken, and ended"


@pytest.mark.parametrize("repeatable", [True, False])
def test_runs_are_one_statement_and_one_trip_to_redis_each_or_for_eight(
    trips: Trips, tool: Tool, repeatable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight quick calls that may be repeated; else each by itself, with one more statement before it goes out."""
    monkeypatch.setattr(concurrency, "SLOW", 60.0)  # however busy the machine is
    monkeypatch.setattr(running, "LONGEST", 60.0)
    customer, quick = factories.customer(), factories.tool(endpoint_url=f"{tool.url}/echo", idempotent=repeatable)
    me = heartbeat.WorkerProcess()
    me.threads = 10
    me._heartbeat()

    def run(count: int) -> tuple[list[str], list[str]]:
        made = [customer.submit(quick) for _ in range(count)]
        redis_kit.client().delete(messages.QUEUES[messages.RUN_INVOCATION])
        trips.clear()
        runner.work(me)
        sent = list(trips.statements), list(trips.commands)
        assert {invocations.get(each, None).status for each in made} == {"succeeded"}
        return sent

    run(3)
    (taken, *more), commands = run(18)
    assert "usage_logs" not in taken, "the first are only taken"
    ends = [words for words in more if "insert into usage_logs" in words]
    assert len(more) - len(ends) == (0 if repeatable else 18), "each is recorded as dispatched"
    assert len(ends) == (3 if repeatable else 18), "each end takes the next"
    assert commands == (["+".join(["settle"] * 8)] * 2 + ["settle+settle"] if repeatable else ["settle"] * 18)


def test_a_page_of_tools_is_two_statements_however_many_there_are(trips: Trips, client: FlaskClient) -> None:
    customer, tools = factories.customer(), [factories.tool() for _ in range(12)]
    _, key = keys.create(customer.user_id, "counting", actor=OPERATOR)
    for tool in tools[:5]:
        customer.submit(tool)

    def page(limit: int) -> list[Any]:
        answer = client.get(f"/api/v1/tools?limit={limit}", headers={"X-API-Key": key})
        return list(answer.json["data"])  # type: ignore[index]

    page(1)
    for limit in (2, 12):
        trips.clear()
        listed = page(limit)
        assert len(listed) == limit
        assert len(trips.statements) == 2, trips.statements
    assert sum(each["last_used_at"] is not None for each in listed) == 5


def test_a_process_that_does_nothing_asks_two_questions_a_second(trips: Trips) -> None:
    """It says that it lives, and asks what is due; and Redis, which is the broker too, whether it was wiped."""
    me = heartbeat.WorkerProcess()
    for _ in range(2):
        trips.clear()
        sweeper.every_second(me._heartbeat(), threads=4)
    assert [words.split()[0] for words in trips.statements] == ["insert", "select"]
    assert trips.commands == ["SET"]


def test_who_submits_and_waits_reads_the_row_when_it_has_ended(trips: Trips, client: FlaskClient) -> None:
    customer, tool = factories.customer(), factories.tool()
    _, key = keys.create(customer.user_id, "waiting", actor=OPERATOR)
    worker = replace(factories.worker(), take_next=False)

    def waiters() -> int:
        return sum(1 for _ in redis_kit.client().scan_iter(match="wait:*"))

    def end(before: int) -> None:
        eventually("somebody waits", 10, lambda: waiters() > before)
        invocations.complete(factories.taken(worker), factories.GOOD, worker)

    def wait() -> None:
        headers = {"X-API-Key": key, "Prefer": "wait=20"}
        with ThreadPoolExecutor(1) as pool:
            ended = pool.submit(end, waiters())
            answer = client.post(f"/api/v1/tools/{tool.slug}/invoke", json={"input": {}}, headers=headers)
            ended.result()
        assert answer.status_code == 200, answer.text

    wait()
    trips.clear()
    wait()
    reads = [words for words in trips.statements if words.startswith("select i.id")]
    assert len(reads) == 1, trips.statements


def sent(do: Callable[[], object]) -> list[str]:
    """What this process's pooled connection of PostgreSQL sends meanwhile, a message of the protocol each."""
    pooled = engine().raw_connection()
    driver: Any = pooled.driver_connection
    pooled.close()
    with tempfile.TemporaryFile("w+") as file:
        driver.pgconn.trace(file.fileno())
        try:
            do()
        finally:
            driver.pgconn.untrace()
        file.seek(0)
        return [" ".join(line.split("\t")[3:]).strip() for line in file if line.split("\t")[1] == "F"]


def test_a_single_read_is_one_round_trip(db: None) -> None:
    """It neither begins a transaction nor ends one, whatever its connection did before."""

    def read() -> None:
        with kit.read_only() as session:
            session.execute(text("select 1")).all()

    for _ in range(4):
        read()  # the driver has prepared it by now
    for before in (kit.read_only, kit.transaction, kit.snapshot):
        with before() as session:
            session.execute(text("select 2")).all()
        assert [line.split()[0] for line in sent(read)] == ["Bind", "Describe", "Execute", "Sync"]
