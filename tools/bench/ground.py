"""What the measurements stand on: private servers, accounts, a tool, and the platform's processes beside the bare ones.

Everything is started once and stays up, so that pairs can be measured in turn within seconds of each other.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time
from typing import Any
from uuid import UUID

import jwt
import psycopg
from flask import Flask
from flask_migrate import upgrade

from common import boot, subscriptions
from common.identity import accounts, audit, email_addresses, sessions
from common.kit import db
from common.models.subscriptions import Plan
from common.queueing.messages import connection_url
from common.settings import Settings, load
from common.tools import ListedTool, editing
from dev import platform, servers
from dev.platform import ROOT, local_url
from dev.ports import free_port
from dev.servers import Postgres, Redis
from dev.supervisor import Part, Supervisor
from tools.bench.load import request
from web.app import create_app
from web.cli import MIGRATIONS
from web.http import access_tokens

SECRET = "a secret of the benchmark, for its tokens alone"
PLAN = "bench"
PASSWORD = "the heron waits in grey water"
ACCOUNTS = 32
#: Enough for one account to keep 800 calls under way.
AT_ONCE = 1_000


#: A session's access tokens are renewed when they are older than this (they last fifteen minutes).
RENEW_SECONDS = 300.0


@dataclass(slots=True)
class Account:
    """A subscribed account with a session. Ask for `token` in an application context."""

    user_id: UUID
    period_id: UUID
    pair: sessions.TokenPair


@dataclass(slots=True)
class Ground:
    """`environ` is what the platform's processes run with; this process is connected to the same servers."""

    directory: Path
    environ: dict[str, str]
    settings: Settings
    supervisor: Supervisor
    servers: list[servers.Server]
    tool_port: int
    bare_port: int
    accounts: list[Account] = field(default_factory=list)
    tools: dict[str, ListedTool] = field(default_factory=dict)
    app: Flask | None = None
    _tokens: list[str] = field(default_factory=list)
    _renewed: float = 0.0

    # -- processes -----------------------------------------------------------------------------------------------

    def start(self, *parts: Part) -> None:
        """Start these parts unless they run already, and wait until they can be used."""
        new = [part for part in parts if part.name not in self.supervisor.children]
        self.supervisor.start(*new)
        names = {part.name for part in new}
        if "web" in names:
            self.supervisor.wait_for(lambda: platform.serving(f"{self.url}/ready"), "web")
        if "bare-web" in names:
            self.supervisor.wait_for(lambda: listening(self.bare_port), "bare web")
        expected = sum(name.startswith("invocations-") for name in self.supervisor.children)
        self.supervisor.wait_for(lambda: heartbeats(self.settings.database_url) >= expected, "workers")

    def stop(self, *names: str) -> None:
        """Stop these parts."""
        for name in names:
            self.supervisor.children[name].signal(signal.SIGTERM)
        for name in names:
            self.supervisor.children.pop(name).finish(monotonic() + 20)

    def stop_all(self) -> None:
        """Stop all parts but the tool."""
        self.stop(*[name for name in self.supervisor.children if name != "tool"])

    def web(self) -> Part:
        """One web process."""
        return platform.web(self.settings)

    def workers(self, processes: int, threads: int) -> list[Part]:
        return [platform.worker("invocations", threads, number + 1) for number in range(processes)]

    def bare_web(self) -> Part:
        """The same server with the least application."""
        options = ["--worker-class", "gevent", "--workers", "1", "--worker-connections", "4000", "--keep-alive", "75"]
        where = ["--bind", f"127.0.0.1:{self.bare_port}", "--no-control-socket"]
        return Part(
            "bare-web", [*python("gunicorn"), *options, *where, "tools.bench.limits.web:app"], self.bare_environ()
        )

    def bare_worker(self, number: int, threads: int, path: str) -> Part:
        name = f"bare-{number}"
        options = ["-P", "threads", "-c", str(threads), "-Q", "bare", "-n", f"{name}@%h", "-l", "WARNING"]
        command = [*python("celery"), "-A", "tools.bench.limits.worker", "worker", *options]
        environ = {**self.bare_environ(), "BARE_TOOL": self.tool_url(path)}
        return Part(name, [*command, "--without-gossip", "--without-mingle"], environ)

    def naive_worker(self, number: int, threads: int) -> Part:
        """A worker process of what a user would build."""
        name = f"naive-{number}"
        options = ["-P", "threads", "-c", str(threads), "-Q", "naive", "-n", f"{name}@%h", "-l", "WARNING"]
        command = [*python("celery"), "-A", "tools.bench.limits.naive", "worker", *options]
        return Part(name, command, {**self.bare_environ(), "BARE_TOOL": self.tool_url()})

    def bare_environ(self) -> dict[str, str]:
        return {
            "BARE_DATABASE": self.settings.database_url.replace("postgresql://", "postgresql+psycopg://", 1),
            "BARE_BROKER": connection_url(self.settings.broker_url),
            "BARE_SECRET": SECRET,
        }

    def connect(self) -> None:
        """Let this process work on this ground's servers (when there is more than one ground)."""
        boot.connect(load({**self.environ, "LOG_LEVEL": "WARNING"}), process="bench", pool_size=16)

    # -- where things are ----------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return local_url("127.0.0.1", self.settings.port)

    def tool_url(self, path: str = "/tool") -> str:
        return local_url("127.0.0.1", self.tool_port) + path

    def answered(self, reset: bool = False) -> int:
        """How many calls the benchmark's tool has answered since it was last reset."""
        with urllib.request.urlopen(self.tool_url("/count?reset" if reset else "/count"), timeout=10) as response:
            return int(json.load(response)["answered"])

    def pids(self, *names: str) -> list[int]:
        """Of these parts (all of them when none is named) and of PostgreSQL and Redis."""
        children = self.supervisor.children
        own = [children[name].pid for name in (names or children) if name not in ("tool",)]
        return [*own, *(server.pid for server in self.servers)]

    def names(self) -> dict[int, str]:
        """What the platform's processes and servers are called, by pid."""
        children = self.supervisor.children.items()
        own = {child.pid: name for name, child in children if not name.startswith(("bare-", "tool"))}
        return own | {server.pid: server.name for server in self.servers}

    @property
    def postgres(self) -> Postgres:
        return next(server for server in self.servers if isinstance(server, Postgres))

    @property
    def redis(self) -> Redis:
        return next(server for server in self.servers if isinstance(server, Redis))

    # -- requests ------------------------------------------------------------------------------------------------

    def submits(self, tool: str, *, of: Sequence[str] = (), **headers: str) -> list[bytes]:
        """One submit of each account, or with each of these tokens."""
        body = json.dumps({"input": {"text": "some words"}}).encode()
        path = f"/api/v1/tools/{self.tools[tool].slug}/invoke"
        return [
            request("POST", path, {"Authorization": f"Bearer {token}", **headers}, body)
            for token in of or self.tokens()
        ]

    def tokens(self) -> list[str]:
        """An access token of each account, good for another ten minutes."""
        if not self._tokens or monotonic() - self._renewed > RENEW_SECONDS:
            assert self.app is not None
            with self.app.app_context():
                for each in self.accounts:
                    each.pair = sessions.refresh(each.pair.refresh_token)
                self._tokens = [access_tokens.sign(each.pair) for each in self.accounts]
            self._renewed = monotonic()
        return self._tokens

    def token(self, whose: Account) -> str:
        """An access token of this account."""
        return self.tokens()[self.accounts.index(whose)]

    def bare_submits(self) -> list[bytes]:
        body = json.dumps({"input": {"text": "some words"}}).encode()
        return [request("POST", "/submit", bare_headers(), body)]

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:  # Any: columns of any type
        with psycopg.connect(self.settings.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def sql_named(self, statement: str, values: Mapping[str, object]) -> None:
        with psycopg.connect(self.settings.database_url, autocommit=True) as connection:
            connection.execute(statement, values)


@contextmanager
def prepared(**environ: str) -> Iterator[Ground]:
    """Servers, schema, accounts and tools, and the tool's process; nothing of the platform yet."""
    with tempfile.TemporaryDirectory(prefix="joyfull-bench-") as name:
        directory = Path(name)
        postgres, redis = Postgres(directory), Redis(directory)
        redis.start()
        postgres.start()
        try:
            redis.wait()
            postgres.wait()
            servers.create_database(postgres)
            with _ground(directory, postgres, redis, environ) as ground:
                yield ground
        finally:
            boot.disconnect()
            postgres.stop()
            redis.stop()


@contextmanager
def _ground(directory: Path, postgres: Postgres, redis: Redis, environ: Mapping[str, str]) -> Iterator[Ground]:
    (directory / "metrics").mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "DATABASE_URL": postgres.url(),
        "REDIS_URL": redis.url(),
        "DATA_DIR": str(directory),
        "PORT": str(free_port()),
        "FLOWER_PORT": str(free_port()),
        "WEB_PROCESSES": "1",
        "MAX_CONNECTIONS_PER_ADDRESS": "0",  # all clients are on this machine
        "MAX_STREAMS": "100000",
        "PROMETHEUS_MULTIPROC_DIR": str(directory / "metrics"),
        **environ,
    }
    supervisor = Supervisor(env, directory / "log", ROOT)
    ground = Ground(directory, env, load(env), supervisor, [postgres, redis], free_port(), free_port())
    try:
        supervisor.start(Part("tool", [*python("tools.bench.outside"), str(ground.tool_port)]))
        furnish(ground)
        supervisor.wait_for(lambda: listening(ground.tool_port), "tool")
        yield ground
    finally:
        supervisor.stop()


def furnish(ground: Ground) -> None:
    """Schema, a plan without a rate limit, accounts with sessions, and tools with different speeds."""
    ground.app = create_app(load({**ground.environ, "LOG_LEVEL": "WARNING"}))
    with ground.app.app_context():
        upgrade(directory=str(MIGRATIONS))
        with db.transaction() as session:
            limits = {"monthly_tokens": 10**12, "max_concurrency": AT_ONCE, "rate_limit_per_minute": None}
            session.add(Plan(slug=PLAN, name=PLAN, price_cents=0, **limits))
        ground.accounts += [account(n) for n in range(ACCOUNTS)]
    ground.tools |= {
        "quick": tool(ground, "quick", "/tool"),
        "slow": tool(ground, "slow", "/tool/1000"),
        "slow-too": tool(ground, "slow-too", "/tool/1000"),
    }
    ground.sql(
        "create table bare (id uuid primary key, user_id text, input jsonb, created_at timestamptz default now())"
    )


def account(number: int, plan: str = PLAN) -> Account:
    """A subscribed account with a session."""
    email = f"bench-{number}@example.com"
    made = accounts.create(email_addresses.parse(email), PASSWORD, "Bench", verified=True)
    subscriptions.subscribe(made.id, plan)
    pair = sessions.login(email, PASSWORD, ip="127.0.0.1")
    return Account(made.id, subscriptions.for_submit(made.id).period_id, pair)


def tool(ground: Ground, slug: str, path: str, **changes: object) -> ListedTool:
    """A tool as users have them: schema, price by units, idempotent."""
    draft = {
        "slug": slug,
        "name": slug,
        "endpoint_url": ground.tool_url(path),
        "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        "price": {
            "base_tokens": 1,
            "per_unit": {"pointer": "/units", "tokens": 1, "unit": "character"},
            "max_tokens": 50,
        },
        "idempotent": True,
        **changes,
    }
    return editing.create(audit.OPERATOR, editing.Draft.of(draft))


def bare_headers() -> dict[str, str]:
    """What the bare application takes for a session."""
    now = int(time())
    claims = {
        "sub": "bench",
        "iat": now,
        "nbf": now - 60,
        "exp": now + 3600,
        "jti": "bench",
        "type": "access",
        "fresh": False,
    }
    return {"Authorization": f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}"}


# -- the machine -------------------------------------------------------------------------------------------------


def python(module: str) -> list[str]:
    return [sys.executable, "-m", module]


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def heartbeats(url: str) -> int:
    """How many worker processes have said within the last seconds that they are there."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select count(*) from processes where heartbeat_at > now() - interval '5 s'"
        ).fetchone()
    return row[0] if row else 0
