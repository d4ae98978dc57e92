"""Every secret is changed while clients work, by the steps of docs/operations/secrets.md, and nobody notices.

Each change has three steps, and all processes are restarted one by one between them: first everybody *accepts* the new
secret, then everybody *uses* it, then nobody accepts the old one. With two steps, what a new process signs or seals
meets an old one that does not know the key.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql
from redis import Redis as RedisClient

from common.settings import Settings, load
from dev import platform as parts
from dev.ports import free_port
from dev.servers import Postgres, Redis
from dev.supervisor import Supervisor
from tests.client import Client
from tests.conftest import ROOT, migrate
from tests.outside.tool import Tool

CLIENTS = 2
#: Requests of a client in one round, at least.
PER_ROUND = 12
TOOL_SECRET = "the-credential-of-the-tool"


class Installation:
    """A platform whose secrets are in files, as an operator would have them."""

    def __init__(self, directory: Path, environ: dict[str, str], postgres: Postgres, redis: Redis) -> None:
        self.postgres, self.redis = postgres, redis
        self._files = directory / "secrets"
        self._files.mkdir(mode=0o700)
        self.jwt, self.keys = [secrets.token_hex(32)], [secrets.token_hex(32)]
        self.role, self.role_password, self.redis_password = "joyfull_a", secrets.token_hex(16), secrets.token_hex(16)
        names = ("JWT_SECRET_KEY", "SECRETS_KEYS", "DATABASE_URL", "REDIS_URL")
        given = {name: value for name, value in environ.items() if name not in names}
        self.environ = {
            **given,
            **{f"{name}_FILE": str(self._files / name) for name in names},
            "PORT": str(free_port()),
        }
        self.environ |= {"WORKER_THREADS": "8", "PUBLIC_URL": "http://hub.test"}
        self.second_port = str(free_port())
        #: What happens while one half is restarted and the other is not.
        self.between: Callable[[], object] = lambda: None
        self.supervisor = Supervisor(self.environ, directory / "log", ROOT)

    def write(self) -> None:
        values = {
            "JWT_SECRET_KEY": ",".join(self.jwt),
            "SECRETS_KEYS": ",".join(self.keys),
            "DATABASE_URL": self.postgres.url().replace("//postgres@", f"//{self.role}:{self.role_password}@"),
            "REDIS_URL": self.redis.url().replace("unix://", f"unix://default:{self.redis_password}@"),
        }
        for name, value in values.items():
            (self._files / name).write_text(value)

    @property
    def settings(self) -> Settings:
        return load(self.environ)

    @property
    def urls(self) -> tuple[str, str]:
        """Two instances of web: what one has signed or encrypted, the other must be able to read."""
        host = self.settings.host
        return parts.local_url(host, self.settings.port), parts.local_url(host, int(self.second_port))

    def start(self) -> None:
        web = parts.web(self.settings)
        second = replace(web, name="web-2", environ={**web.environ, "PORT": self.second_port})
        self.supervisor.start(web, second, *parts.workers(self.settings))
        self.supervisor.wait_for(lambda: all(parts.serving(f"{url}/ready") for url in self.urls), "web")

    def restart_one_by_one(self) -> None:
        """gunicorn by SIGHUP: its socket stays open. Workers by SIGTERM: what runs may end."""
        for name, url in zip(("web", "web-2"), self.urls, strict=True):
            self.reload(self.supervisor.children[name].pid)
            self.supervisor.wait_for(lambda url=url: parts.serving(f"{url}/ready"), name)  # type: ignore[misc]
            self.between()
        for name in ("invocations-1", "invocations-2"):
            worker = self.supervisor.children[name]
            old = worker.pid
            worker.signal(signal.SIGTERM)
            self.supervisor.wait_for(lambda worker=worker, old=old: worker.is_up and worker.pid != old, name)  # type: ignore[misc]
        self.supervisor.wait_for(lambda: self.heartbeats() >= 2, "workers")

    def reload(self, pid: int) -> None:
        before = children(pid)
        os.kill(pid, signal.SIGHUP)
        self.supervisor.wait_for(lambda: bool(now := children(pid)) and not now & before, "new web processes")

    def heartbeats(self) -> int:
        with psycopg.connect(self.postgres.url()) as connection:
            query = "select count(*) from processes where not stopping and heartbeat_at > now() - interval '3 s'"
            (found,) = connection.execute(query).fetchone() or (0,)
        return int(found)

    # -- the servers' own secrets --------------------------------------------------------------------------------

    def add_role(self, name: str, password: str) -> None:
        """A way in of its own for everybody who holds this password; it owns nothing."""
        create = sql.SQL("create role {} login password {} in role joyfull_app")
        with psycopg.connect(self.postgres.url(), autocommit=True) as admin:
            admin.execute(create.format(sql.Identifier(name), sql.Literal(password)))

    def drop_role(self, name: str) -> None:
        with psycopg.connect(self.postgres.url(), autocommit=True) as admin:
            admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))

    def redis_user(self, password: str, *changes: str) -> None:
        with RedisClient(unix_socket_path=str(self.redis.socket), password=password) as client:
            client.execute_command("ACL", "SETUSER", "default", *changes)


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@pytest.fixture
def installation(environ: dict[str, str], tmp_path: Path) -> Iterator[Installation]:
    postgres, redis = Postgres(tmp_path / "own", durable=False), Redis(tmp_path / "own")
    for server in (redis, postgres):
        server.start()
    for server in (redis, postgres):
        server.wait()
    made = Installation(tmp_path, environ, postgres, redis)
    try:
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
            admin.execute("create role joyfull nologin")
            admin.execute("create role joyfull_app nologin")
            admin.execute("create database joyfull owner joyfull")
            admin.execute("create role joyfull_owner login password 'of the owner' in role joyfull")
            admin.execute("alter role joyfull_owner set role joyfull")
        demand_passwords(postgres)
        made.add_role(made.role, made.role_password)
        with RedisClient(unix_socket_path=str(redis.socket)) as client:
            client.execute_command("ACL", "SETUSER", "default", "resetpass", f">{made.redis_password}")
        made.write()
        owner = postgres.url().replace("//postgres@", "//joyfull_owner:of%20the%20owner@")
        migrate(owner)
        grant = [sys.executable, "-m", "flask", "--app", "wsgi", "roles", "grant", "joyfull_app"]
        subprocess.run(grant, cwd=ROOT, env={**environ, "DATABASE_URL": owner}, check=True)
        yield made
    finally:
        made.supervisor.stop()
        for server in (redis, postgres):
            server.stop()


def demand_passwords(postgres: Postgres) -> None:
    """Trust nobody but the superuser."""
    file = postgres.data / "pg_hba.conf"
    file.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute("select pg_reload_conf()")


class Alternating(Client):
    """A client behind a balancer: each request goes to the other instance than the one before."""

    def __init__(self, urls: tuple[str, str]) -> None:
        self._both = [httpx.URL(url).port for url in urls]
        self.begin_at(0)
        # A connection of its own for each request: on a kept-alive one, any restart may cross with a request.
        super().__init__(urls[0], event_hooks={"request": [self._balance]}, headers={"Connection": "close"})

    def begin_at(self, number: int) -> None:
        self._ports = itertools.cycle([self._both[number], self._both[1 - number]])

    def _balance(self, request: httpx.Request) -> None:
        request.url = request.url.copy_with(port=next(self._ports))


@dataclass
class Load:
    """Clients that sign in, call a tool and read the result, over and over. What is not as it should be is kept."""

    installation: Installation
    slug: str
    requests: int = 0
    wrong: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Load:
        joined = [Alternating(self.installation.urls).join("pro") for _ in range(CLIENTS)]
        self.threads = [threading.Thread(target=self._work, args=(client,)) for client in joined]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)

    def _work(self, client: Alternating) -> None:
        while not self.stopping.wait(0.3):
            try:
                self._round(client)
            except Exception as error:  # noqa: BLE001 - whatever went wrong is what the test wants to know
                with self._lock:
                    self.wrong.append(f"{type(error).__name__}: {str(error)[:300]}")

    def _round(self, client: Alternating) -> None:
        for number in (0, 1):
            client.logout()
            client.begin_at(number)
            client.webhooks.default_secret()  # logs in
            ended = client.ended(client.invoke(self.slug, {"text": "x"})["id"])
            assert ended["status"] == "succeeded", ended
            client.begin_at(number)
            client.webhooks.rotate_default_secret()
            client.webhooks.default_secret()
        with self._lock:
            self.requests += PER_ROUND

    def go_on(self) -> None:
        """Until every client has done something since."""
        # A round that was under way is not one since.
        wanted = self.requests + 2 * PER_ROUND * CLIENTS
        give_up = time.monotonic() + 60
        while self.requests < wanted and not self.wrong:
            assert time.monotonic() < give_up, "the load stands still"
            time.sleep(0.05)


@pytest.mark.chaos
def test_every_secret_is_changed_under_load(installation: Installation, tool: Tool) -> None:
    installation.start()
    slug = offer(installation, tool)
    old_jwt, old_key = installation.jwt[0], installation.keys[0]
    old_role, old_redis = installation.role, installation.redis_password
    new_redis = secrets.token_hex(16)
    with Load(installation, slug) as load_:
        load_.go_on()
        installation.between = load_.go_on
        # 1. Accept the new ones.
        installation.jwt.append(secrets.token_hex(32))
        installation.keys.append(secrets.token_hex(32))
        installation.redis_user(old_redis, f">{new_redis}")
        new_role_password = secrets.token_hex(16)
        installation.add_role("joyfull_b", new_role_password)
        installation.write()
        installation.restart_one_by_one()
        load_.go_on()
        # 2. Use them.
        installation.jwt.reverse()
        installation.keys.reverse()
        installation.role, installation.role_password = "joyfull_b", new_role_password
        installation.redis_password = new_redis
        installation.write()
        installation.restart_one_by_one()
        assert "0 unreadable" in flask(installation, "secrets", "rotate")
        load_.go_on()
        # 3. Forget the old ones. (Access tokens live for 15 minutes: until then the old key stays in real life.)
        installation.keys.remove(old_key)
        installation.write()
        installation.restart_one_by_one()
        installation.drop_role(old_role)
        installation.redis_user(new_redis, f"<{old_redis}")
        load_.go_on()
    assert load_.wrong == []
    print(f"{load_.requests} requests, none failed")
    assert "no difference" in flask(installation, "books", "verify")

    installation.jwt.remove(old_jwt)
    installation.write()
    assert load(installation.environ).jwt_secret_keys == tuple(installation.jwt)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(installation.postgres.url().replace("//postgres@", f"//{old_role}:x@")).close()


def offer(installation: Installation, tool: Tool) -> str:
    """A tool with a credential, so that workers must be able to open what was encrypted."""
    entry = {
        "slug": "rotating",
        "name": "A tool",
        "endpoint_url": f"{tool.url}/echo",
        "input_schema": {},
        "price": {"base_tokens": 1, "max_tokens": 10},
        "idempotent": True,
        "auth": {"type": "bearer", "secret": TOOL_SECRET},
    }
    code = (
        "import json, sys; from common import boot; from common.identity import audit; "
        "from common.settings import load; from common.tools import editing; "
        "boot.connect(load(), process='offer', pool_size=2); "
        "editing.create(audit.PLATFORM, editing.Draft.of(json.loads(sys.argv[1])))"
    )
    run(installation, sys.executable, "-c", code, json.dumps(entry))
    return "rotating"


def flask(installation: Installation, *arguments: str) -> str:
    return run(installation, sys.executable, "-m", "flask", "--app", "wsgi", *arguments)


def run(installation: Installation, *command: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=installation.environ, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    return done.stdout
