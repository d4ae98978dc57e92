"""What every test stands on: one private PostgreSQL for the run, and for each xdist worker its own database and Redis.

Nothing here touches a server that happens to run. The database is cloned from a template that the migrations built, so
each test session also runs them. Between tests rows are removed, not tables; what the migrations seeded is put back.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import hypothesis
import psycopg
import pytest
from psycopg import sql

from common import boot
from common.identity import audit
from common.kit import redis as redis_kit
from common.settings import Settings, load
from common.tools import editing
from dev import platform as parts
from dev.pgbouncer import PgBouncer
from dev.platform import Platform
from dev.ports import free_port
from dev.servers import Postgres, Redis
from dev.supervisor import Supervisor, raise_on_signals
from tests.client import Client
from tests.outside.receiver import Receiver
from tests.outside.tool import Tool
from tests.timing import Hurried, using

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "template_joyfull"
#: Rows of processes that may be running: they would take their own disappearance for a verdict.
KEPT = {"processes"}
_SERVER = pytest.StashKey[Postgres]()
_PLATFORM_LOGS = pytest.StashKey[Path]()


# -- servers: one PostgreSQL per run, started by whoever hands out the work ---------------------------------------


def pytest_configure() -> None:
    """A run that is told to end (`timeout`, a closed terminal) ends like one that is interrupted: it cleans up."""
    raise_on_signals()
    hypothesis.settings.register_profile("joyfull", deadline=None)  # a busy machine takes longer
    hypothesis.settings.load_profile("joyfull")


def pytest_sessionfinish() -> None:
    """Threads in the background that go on have nothing to say any more, and nowhere to say it."""
    logging.raiseExceptions = False


def pytest_configure_node(node: object) -> None:
    """xdist, in the controller, before each worker starts: start PostgreSQL once, tell every worker where it is."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    if _SERVER not in config.stash:
        config.stash[_SERVER] = _start_postgres(config)
    node.workerinput["postgres"] = config.stash[_SERVER].url("{}")  # type: ignore[attr-defined]


def _start_postgres(config: pytest.Config) -> Postgres:
    directory = Path(tempfile.mkdtemp(prefix="joyfull-test-"))
    server = Postgres(directory, durable=False)

    def remove() -> None:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)

    config.add_cleanup(remove)
    server.start()
    server.wait()
    return server


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """The private PostgreSQL, with `{}` where the name of the database goes."""
    given = getattr(request.config, "workerinput", {}).get("postgres")
    if given is None:
        request.config.stash[_SERVER] = _start_postgres(request.config)
        given = request.config.stash[_SERVER].url("{}")
    return str(given)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """This xdist worker's own Redis: FLUSHALL, `kill()` and `start()` as you please, but leave it running."""
    directory = Path(tempfile.mkdtemp(prefix="joyfull-test-"))
    server = Redis(directory)
    server.start()
    server.wait()
    yield server
    server.stop()
    shutil.rmtree(directory, ignore_errors=True)


# -- database: a clone of the migrated template -------------------------------------------------------------------


@pytest.fixture(scope="session")
def database_url(postgres_url: str, worker_id: str) -> str:
    """A migrated database for this xdist worker alone."""
    name = f"joyfull_{worker_id}"
    with psycopg.connect(postgres_url.format("postgres"), autocommit=True) as admin:
        admin.execute("select pg_advisory_lock(1)")  # one xdist worker builds the template, the others wait
        if not admin.execute("select 1 from pg_database where datname = %s", (TEMPLATE,)).fetchone():
            _build_template(admin, postgres_url)
        admin.execute(sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
        admin.execute("select pg_advisory_unlock(1)")
    return postgres_url.format(name)


def _build_template(admin: psycopg.Connection[object], postgres_url: str) -> None:
    admin.execute("drop database if exists building")
    admin.execute("create database building")
    migrate(postgres_url.format("building"))
    with psycopg.connect(postgres_url.format("building")) as connection:
        _remember_seeds(connection)
    admin.execute(sql.SQL("alter database building rename to {}").format(sql.Identifier(TEMPLATE)))


def migrate(url: str) -> None:
    """Run every migration, as an operator would."""
    environ = {**os.environ, "ENV": "development", "DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:1/0"}
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the migrations failed:\n{done.stdout}\n{done.stderr}"


def _tables(connection: psycopg.Connection[tuple[str]], schema: str) -> list[str]:
    query = """select relname from pg_class where relnamespace = %s::regnamespace and relkind in ('r', 'p')
               and not relispartition and relname <> 'alembic_version' order by 1"""
    return [name for (name,) in connection.execute(query, (schema,))]


def _remember_seeds(connection: psycopg.Connection[tuple[str]]) -> None:
    """Copy the rows that the migrations brought along into the schema `seed`."""
    connection.execute("create schema seed")
    for table in map(sql.Identifier, _tables(connection, "public")):
        if connection.execute(sql.SQL("select 1 from {} limit 1").format(table)).fetchone():
            connection.execute(sql.SQL("create table seed.{0} as table {0}").format(table))


def _sweeping(connection: psycopg.Connection[tuple[str]]) -> sql.Composed:
    """One statement batch that puts every table back to what the migrations left, past triggers and foreign keys.

    DELETE, not TRUNCATE: it is quicker on small tables, and needs no lock that a running worker would stand against.
    """
    seeds = set(_tables(connection, "seed"))
    steps: list[sql.Composable] = [sql.SQL("set session_replication_role = replica")]
    for table in sorted(set(_tables(connection, "public")) - KEPT):
        steps.append(sql.SQL("delete from {}").format(sql.Identifier(table)))
        if table in seeds:
            steps.append(sql.SQL("insert into {0} select * from seed.{0}").format(sql.Identifier(table)))
    return sql.SQL("; ").join(steps)


@pytest.fixture(scope="session")
def _sweeper(database_url: str) -> Iterator[psycopg.Connection[tuple[str]]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def _sweep_statement(_sweeper: psycopg.Connection[tuple[str]]) -> bytes:
    return _sweeping(_sweeper).as_bytes(_sweeper)


# -- what tests ask for -------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _pooling(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`POOLING=transaction make test` runs everything through PgBouncer in transaction mode."""
    if (pooling := os.environ.get("POOLING", "session")) == "session":
        yield {"DATABASE_URL": database_url}
        return
    pooler = PgBouncer(tmp_path_factory.mktemp("pooler"), database_url)
    pooler.start()
    pooler.wait()
    yield {"DATABASE_URL": pooler.url(), "DATABASE_POOLING": pooling}
    pooler.stop()


@pytest.fixture(scope="session")
def environ(_pooling: dict[str, str], redis_server: Redis, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The whole environment of child processes: the private servers and nothing of the developer's own settings."""
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "ENV": "development",
        **_pooling,
        "REDIS_URL": redis_server.url(),
        "DATA_DIR": str(tmp_path_factory.mktemp("var")),
        "WEB_PROCESSES": "1",
        "WORKER_PROCESSES": "2",
        "WORKER_THREADS": "50",
        "OUTBOUND_ALLOW": "127.0.0.0/8",
    }


@pytest.fixture(scope="session")
def settings(environ: dict[str, str]) -> Settings:
    """The settings that `environ` makes."""
    return load(environ)


@pytest.fixture(scope="session")
def _connected(settings: Settings) -> Iterator[None]:
    boot.connect(settings, process="test", pool_size=20)
    yield
    boot.disconnect()


@pytest.fixture
def db(_connected: None, _sweeper: psycopg.Connection[tuple[str]], _sweep_statement: bytes) -> None:
    """PostgreSQL and Redis, connected, and as fresh as the migrations left them."""
    for _ in range(10):
        with suppress(psycopg.errors.DeadlockDetected):  # with a running platform, which has rows in another order
            _sweeper.execute(_sweep_statement)
            break
    else:
        pytest.fail("the database could not be emptied: deadlocks")
    redis_kit.client().flushall()


@pytest.fixture
def redis(db: None) -> redis_kit.Client:
    """This process's Redis client on an empty server."""
    return redis_kit.client()


@pytest.fixture
def hurried() -> Iterator[None]:
    """In this process, waiting for what is only on its way takes no time."""
    with using(Hurried()):
        yield


@pytest.fixture(scope="session")
def _tool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tool]:
    with Tool(tmp_path_factory.mktemp("tool") / "calls.jsonl") as server:
        yield server


@pytest.fixture
def tool(_tool: Tool) -> Tool:
    """A tool that misbehaves on demand (its module says how), having been asked nothing yet."""
    _tool.forget()
    return _tool


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks that keeps every request and answers by a script."""
    with Receiver() as server:
        yield server


# -- the whole platform -------------------------------------------------------------------------------------------


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever needs the platform goes to one xdist worker, so that it is started once (`--dist loadgroup`)."""
    for item in items:
        if "platform" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("platform"))
            item.add_marker(pytest.mark.platform)


@pytest.fixture(scope="session")
def platform(
    environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Platform]:
    """Real processes on the private servers: web, two workers for invocations, one each for webhooks and sweeps.

    `platform.url` is where they serve; `platform.supervisor.children["invocations-1"]` can be `kill()`ed and
    `start()`ed again: nothing is restarted behind a test's back. Ask for `db` too to begin with an empty database.
    Failpoints are armed by files in `armed`.
    """
    metrics = tmp_path_factory.mktemp("metrics")
    env = {
        **environ,
        "PORT": str(free_port()),
        "FLOWER_PORT": str(free_port()),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "FAILPOINTS": f"dir={tmp_path_factory.mktemp('armed')}",
    }
    logs = tmp_path_factory.mktemp("platform")
    request.config.stash[_PLATFORM_LOGS] = logs
    hub = Platform(load(env), env, Supervisor(env, logs, ROOT), passwords={}, tools_port=0)
    hub.supervisor.start(parts.web(hub.settings), *parts.workers(hub.settings))
    hub.supervisor.start(parts.worker("webhooks", 16), parts.worker("sweeps", 4))
    try:
        hub.supervisor.wait_for(lambda: parts.serving(f"{hub.url}/ready"), "web")
        hub.supervisor.wait_for(lambda: _heartbeats(env["DATABASE_URL"]) >= len(hub.supervisor.children) - 1, "workers")
        yield hub
    finally:
        hub.supervisor.stop()


@pytest.fixture
def hub(db: None, platform: Platform) -> Platform:
    """The running platform on an empty database, with all its processes known to the books again."""
    platform.supervisor.tick()
    count = len(platform.supervisor.children) - 1
    platform.supervisor.wait_for(lambda: _heartbeats(platform.environ["DATABASE_URL"]) >= count, "workers")
    return platform


@pytest.fixture
def armed(hub: Platform) -> Iterator[Path]:
    """Where a file with the name of a failpoint makes the first process that comes there do what the file says."""
    folder = Path(hub.environ["FAILPOINTS"].removeprefix("dir="))
    yield folder
    for left in folder.iterdir():
        left.unlink()


@pytest.fixture
def client(hub: Platform) -> Client:
    """A new account on the free plan, logged in."""
    return Client(hub.url).join()


@pytest.fixture
def offer(db: None, tool: Tool) -> Callable[..., str]:
    """Put the misbehaving tool into the catalogue: `offer("/echo", idempotent=True)` returns its slug."""

    def create(path: str = "/echo", **fields: object) -> str:
        slug = f"tool-{uuid4().hex[:8]}"
        entry = {
            "slug": slug,
            "name": "A tool",
            "endpoint_url": f"{tool.url}{path}",
            "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            "price": {
                "base_tokens": 1,
                "per_unit": {"pointer": "/units", "tokens": 1, "unit": "character"},
                "max_tokens": 50,
            },
            "timeout_seconds": 10,
            "idempotent": True,
            **fields,
        }
        editing.create(audit.PLATFORM, editing.Draft.of(entry))
        return slug

    return create


def _heartbeats(url: str) -> int:
    """How many worker processes have said within the last seconds that they are there."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select count(*) from processes where heartbeat_at > now() - interval '5 s'"
        ).fetchone()
    return row[0] if row else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Beside a failure on the platform: the last lines of its logs."""
    report = yield
    logs = item.config.stash.get(_PLATFORM_LOGS, None)
    if report.failed and logs and "platform" in getattr(item, "fixturenames", ()):
        for log in sorted(logs.glob("*.log")):
            last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            report.sections.append((f"log of {log.stem}", last))
    return report
