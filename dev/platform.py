"""The whole platform as processes on private servers, for `make run`, the demo, tests and benchmarks.

with platform.running(os.environ) as hub:
    requests.get(f"{hub.url}/ready")
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from alembic.script import ScriptDirectory

from common.kit.dotenv import over, read_dotenv
from common.settings import Settings, load
from dev import process, servers
from dev.servers import ServerError
from dev.supervisor import Part, Supervisor

ROOT = Path(__file__).resolve().parent.parent
#: Each queue has its own processes, so that no queue delays another; deliveries and sweeps need fewer threads.
WEBHOOK_THREADS = 64
SWEEP_THREADS = 4
DEVELOPER = "developer@localhost"
ADMIN = "admin@localhost"
KEY_FILE = "api-key"


@dataclass(frozen=True, slots=True)
class Platform:
    """A running platform. `environ` is the environment of its processes; `passwords` are by email address."""

    settings: Settings
    environ: Mapping[str, str]
    supervisor: Supervisor
    passwords: Mapping[str, str]
    tools_port: int

    @property
    def tools_url(self) -> str:
        return local_url(self.settings.host, self.tools_port)

    @property
    def api_key(self) -> str:
        """An API key of the developer's account."""
        return (self.settings.data_dir / KEY_FILE).read_text()

    @property
    def url(self) -> str:
        return local_url(self.settings.host, self.settings.port)


@contextmanager
def running(environ: Mapping[str, str], tell: Callable[[str], None] = print) -> Iterator[Platform]:
    """Run servers, migrations, example tools and every process inside the block; ready when the block begins.

    Raises:
        ServerError: something cannot be started.
        SettingsError: the settings are invalid.
    """
    given = with_dotenv(environ)
    data = load(given).data_dir
    data.mkdir(parents=True, exist_ok=True)
    with _alone(data), servers.running(data, given) as urls:
        passwords = _passwords(data)
        env = {**given, **_defaults(data, passwords, given), **urls.environment()}
        supervisor = Supervisor(env, data / "log", ROOT, tell)
        supervisor.watch(urls.private)
        settings = load(env)
        hub = Platform(settings, env, supervisor, passwords, settings.tools_port)
        try:
            start(hub)
            yield hub
        finally:
            hub.supervisor.stop()


def start(hub: Platform) -> None:
    """Start everything, beginning with what the first request needs."""
    supervisor, settings = hub.supervisor, hub.settings
    ports = {"PORT": settings.port, "FLOWER_PORT": settings.flower_port, "TOOLS_PORT": hub.tools_port}
    for name, port in ports.items():
        require_free(settings.host, port, name, [other for other in ports if ports[other] == port])
    first, *others = workers(settings)
    supervisor.warm_up()
    supervisor.start(example_tools(settings.host, hub.tools_port), web(settings))
    migrate(hub)
    supervisor.start(first)
    seed(hub)
    supervisor.wait_for(lambda: serving(f"{hub.url}/ready"), "web")
    supervisor.wait_for(lambda: serving(f"{hub.tools_url}/health"), "tools")
    supervisor.start(*others, *background(settings))


# -- the parts -----------------------------------------------------------------------------------------------


def web(settings: Settings) -> Part:
    """gunicorn with its worker processes, on HOST:PORT."""
    command = [sys.executable, "-m", "gunicorn", "--config", "web/gunicorn.conf.py", "wsgi:app"]
    return Part("web", command, {"WEB_PROCESSES": str(settings.web_processes)}, grace=12)


def worker(queue: str, threads: int, number: int = 1) -> Part:
    """One Celery process that consumes one queue. A warm shutdown lets running calls complete."""
    name = f"{queue}-{number}"
    options = ["-P", "threads", "-c", str(threads), "-Q", queue, "-n", f"{name}@%h", "-l", "WARNING"]
    return Part(name, [*_celery("worker"), *options, "--without-gossip", "--without-mingle"], grace=15, warm=True)


def workers(settings: Settings) -> list[Part]:
    """WORKER_PROCESSES processes of WORKER_THREADS threads for invocations."""
    numbers = range(1, settings.worker_processes + 1)
    return [worker("invocations", settings.worker_threads, number) for number in numbers]


def background(settings: Settings) -> list[Part]:
    """The processes that no request waits for: webhook deliveries, sweeps, beat and Flower."""
    schedule = settings.data_dir / "beat-schedule"
    state = ["--persistent=True", f"--db={settings.data_dir / 'flower.db'}", "--state_save_interval=10000"]
    address = [f"--address={settings.host}", f"--port={settings.flower_port}"]
    return [
        worker("webhooks", WEBHOOK_THREADS),
        worker("sweeps", SWEEP_THREADS),
        Part("beat", [*_celery("beat"), "--schedule", schedule, "--pidfile=", "-l", "WARNING"], warm=True),
        Part("flower", [*_celery("flower"), *address, *state, "--logging=warning"], warm=True),
    ]


def example_tools(host: str, port: int) -> Part:
    """The example tools, a separate service."""
    return Part("tools", [sys.executable, "-m", "examples.tools"], {"HOST": host, "PORT": str(port)})


def _celery(command: str) -> list[str | Path]:
    return [sys.executable, "-m", "celery", "-A", "worker.app", command]


# -- before the first start ----------------------------------------------------------------------------------


def migrate(hub: Platform) -> None:
    """Run the migrations unless the database is at head already (checking is faster than starting Flask)."""
    heads = set(ScriptDirectory(str(ROOT / "migrations")).get_heads())
    with psycopg.connect(hub.settings.database_url) as connection:
        exists = connection.execute("select to_regclass('alembic_version')").fetchone() != (None,)
        at = {row[0] for row in connection.execute("select version_num from alembic_version")} if exists else set()
    if at != heads:
        _run_once(hub, "migrate", ["flask", "--app", "wsgi", "db", "upgrade"], {})


def seed(hub: Platform) -> None:
    """Create the example tools in the catalogue, an admin, and a developer's account."""
    _run_once(hub, "seed", ["dev.seed", hub.tools_url, DEVELOPER], {"SEED_PASSWORD": hub.passwords[DEVELOPER]})


def _run_once(hub: Platform, name: str, arguments: list[str], environ: Mapping[str, str]) -> None:
    log = hub.settings.data_dir / "log" / f"{name}.log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", *arguments]
        child = process.spawn(command, env={**hub.environ, **environ}, cwd=ROOT, log=file.fileno())
    try:
        hub.supervisor.wait_for(lambda: child.poll() is not None, name)
    finally:
        process.stop(child)
    if child.returncode:
        raise ServerError(f"{name} failed:\n{log.read_text(errors='replace')[-3000:]}")


def with_dotenv(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment merged over `.env`, as every process of ours reads it."""
    file = ROOT / ".env"
    return over(read_dotenv(file.read_text(encoding="utf-8")) if file.is_file() else {}, environ)


def _defaults(data: Path, passwords: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    metrics = data / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)  # metrics of ended processes
    metrics.mkdir()
    defaults = {"PROMETHEUS_MULTIPROC_DIR": str(metrics), "DATA_DIR": str(data)}
    if not given.get("ADMIN_EMAIL"):
        defaults |= {"ADMIN_EMAIL": ADMIN, "ADMIN_PASSWORD": passwords[ADMIN]}
    return defaults


def _passwords(data: Path) -> dict[str, str]:
    """Passwords of the development accounts: generated once per data directory, in a file only its owner can read."""
    file = data / "passwords.json"
    if not file.exists():
        made = {email: secrets.token_urlsafe(12) for email in (ADMIN, DEVELOPER)}
        file.touch(mode=0o600)
        file.write_text(json.dumps(made, indent=2))
    return dict(json.loads(file.read_text()))


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Allow one platform per data directory. Raises `ServerError`."""
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError(
                f"a platform is already running in {data}; set DATA_DIR, PORT, FLOWER_PORT and TOOLS_PORT for another"
            ) from None
        yield


# -- the network ---------------------------------------------------------------------------------------------


def local_url(host: str, port: int) -> str:
    """The URL at which this machine reaches a server that listens on `host`."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"


def require_free(host: str, port: int, name: str, named: Sequence[str] = ()) -> None:
    """Check that the port is free. Raises `ServerError`, also if several settings (`named`) have the same port."""
    if len(named) > 1:
        raise ServerError(f"{' and '.join(named)} are both {port}: set one of them to another port")
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        if error.errno == errno.EADDRINUSE:
            raise ServerError(f"port {port} is in use ({why}): set {name} to another, or stop what uses it") from None
        raise ServerError(f"{host}:{port} cannot be listened on ({why}): set HOST or {name} to another") from None


def serving(url: str) -> bool:
    """Whether the URL answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=3) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
