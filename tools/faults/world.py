"""The platform as real processes on private servers, and every way to break one of them.

Everything runs from the main thread: children die with the thread that started them. What dies is started again at
once, unless it is to stay down.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from common import boot
from common.kit import redis as redis_kit
from common.settings import load
from dev import platform as parts
from dev.platform import Platform
from dev.ports import free_port
from dev.servers import Postgres, Redis, Server, create_database
from dev.supervisor import Child, Part, Supervisor
from tools.faults.load import Account, Feed, History, Load
from tools.faults.oraclelog import OracleLog
from tools.faults.people import join, offer
from tools.faults.proxy import Proxy

ROOT = Path(__file__).resolve().parent.parent.parent
WEB, WORKERS, THREADS = 2, 2, 16
AGAIN_SECONDS = 0.5
DISK, LOG_DISK = "1800m", "300m"

T = TypeVar("T")


class Violation(Exception):
    """Something that must hold does not."""


@dataclass(frozen=True, slots=True)
class Span:
    """When a fault was there, for the picture."""

    name: str
    began: float
    ended: float


class World:
    """Servers, platform, oracle, accounts. `down`: names of children that are not started again."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory, self.seed = directory, seed
        self.armed = directory / "armed"
        self.postgres = Postgres(directory / "pg")
        self.redis, self.broker = Redis(directory / "gate"), Redis(directory / "broker")
        self.oracle_port = free_port()
        self.log = OracleLog(directory / "oracle.jsonl")
        self.history = History(directory / "history.jsonl")
        self.down: set[str] = set()
        self.spans: list[Span] = []
        self.accounts: list[Account] = []
        self.feeds: list[Feed] = []
        self.restarts = 0
        self.messages = 0
        self.verified = 0
        self._seen_up: dict[str, float] = {}
        self._load: Load | None = None
        self._feeding = threading.Event()
        self._began_rows = 0
        self._as_made: dict[str, Part] = {}
        self.stops: list[str] = []
        self.known_charges: dict[str, int] = {}
        self.row_began = ""
        self.sums_known = True

    # -- up and down ---------------------------------------------------------------------------------------------

    def start(self, accounts: int, tell: Callable[[str], None]) -> None:
        """Bring everything up, and people and tools into it."""
        self.armed.mkdir(parents=True)
        for server in (self.redis, self.broker, self.postgres):
            server.start()
        for server in (self.redis, self.broker, self.postgres):
            server.wait()
        create_database(self.postgres)
        self.environ = self._environ()
        self.hub = Platform(
            load(self.environ), self.environ, Supervisor(self.environ, self.logs, ROOT, tell), {}, tools_port=0
        )
        self.hub.supervisor.warm_up()
        parts.migrate(self.hub)
        command = [sys.executable, "-m", "tools.faults.oracle", str(self.oracle_port), str(self.log.path)]
        self.run(Part("oracle", command))
        self.run(parts.web(self.hub.settings), *parts.workers(self.hub.settings))
        self.run(parts.worker("webhooks", THREADS), parts.worker("sweeps", parts.SWEEP_THREADS), self.beat())
        quiet = {name: value for name, value in self.environ.items() if name != "FAILPOINTS"}
        boot.connect(load({**quiet, "LOG_LEVEL": "ERROR"}), process="faults", pool_size=4)
        offer(self.tool_url)
        self.wait_until("web", lambda: parts.serving(f"{self.hub.url}/ready"), 240)
        self.accounts = [join(number, self.hook_url) for number in range(accounts)]
        self.feeds = [Feed(self.hub.url, account, self.history) for account in self.accounts[:2]]
        self.wait_until("workers", self.all_alive, 240)
        self._as_made = {name: child.part for name, child in self.children.items()}

    def stop(self) -> None:
        self._feeding.clear()
        boot.disconnect()
        if "hub" in vars(self):  # else it did not even start
            self.hub.supervisor.stop()
        for server in (self.broker, self.redis, self.postgres):
            self.thaw(server)
            server.stop()

    @property
    def logs(self) -> Path:
        return self.directory / "var" / "log"

    @property
    def tool_url(self) -> str:
        return f"http://127.0.0.1:{self.oracle_port}/tool"

    @property
    def hook_url(self) -> str:
        return f"http://127.0.0.1:{self.oracle_port}/hook"

    @property
    def children(self) -> Mapping[str, Child]:
        return self.hub.supervisor.children

    def _environ(self) -> dict[str, str]:
        metrics = self.directory / "metrics"
        metrics.mkdir()
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "ENV": "development",
            "DATABASE_URL": self.postgres.url(),
            "REDIS_URL": self.redis.url(),
            "BROKER_URL": self.broker.url(),
            "DATA_DIR": str(self.directory / "var"),
            "PORT": str(free_port()),
            "FLOWER_PORT": str(free_port()),
            "WEB_PROCESSES": str(WEB),
            "WORKER_PROCESSES": str(WORKERS),
            "WORKER_THREADS": str(THREADS),
            "OUTBOUND_ALLOW": "127.0.0.0/8",
            "FAILPOINTS": f"dir={self.armed}",
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        }

    # -- parts ---------------------------------------------------------------------------------------------------

    def beat(self, name: str = "beat") -> Part:
        schedule = self.directory / f"{name}-schedule"
        command = [sys.executable, "-m", "celery", "-A", "worker.app", "beat"]
        return Part(name, [*command, "--schedule", schedule, "--pidfile=", "-l", "WARNING"], warm=True)

    def run(self, *started: Part) -> None:
        self.hub.supervisor.start(*started)

    def part(self, name: str) -> Part:
        return self.children[name].part

    def replace(self, name: str, environ: Mapping[str, str], wrapper: Sequence[str] = ()) -> Part:
        """Run this part with other settings. Returns how it was, for `restore`."""
        old = self.part(name)
        self.end(name)
        self.run(replace(old, environ={**old.environ, **environ}, command=[*wrapper, *old.command], warm=False))
        return old

    def restore(self, part: Part) -> None:
        self.end(part.name)
        self.run(part)

    def end(self, name: str) -> None:
        """SIGTERM, its grace, SIGKILL."""
        child = self.children[name]
        child.signal(signal.SIGTERM)
        child.finish(time.monotonic() + child.part.grace)

    def remove(self, name: str) -> None:
        self.end(name)
        del self.hub.supervisor.children[name]

    def tick(self) -> None:
        """Start again what has died."""
        now = time.monotonic()
        for name, child in self.children.items():
            if child.is_up:
                self._seen_up[name] = now
            elif name not in self.down and now - self._seen_up.get(name, 0.0) > AGAIN_SECONDS:
                child.start()
                self.restarts += 1
                self._seen_up[name] = now

    def sleep(self, seconds: float) -> None:
        """Let time go by, keeping everything up."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.tick()
            time.sleep(min(0.1, left))

    def wait_until(self, what: str, true: Callable[[], T | None], seconds: float) -> T:
        """The first true answer. Raises `Violation` when there is none in time."""
        until = time.monotonic() + seconds
        while not (answer := true()):
            if time.monotonic() > until:
                raise Violation(f"not within {seconds:.0f} s: {what}")
            self.sleep(0.2)
        return answer

    # -- load ----------------------------------------------------------------------------------------------------

    @contextmanager
    def under_load(self, rate: float) -> Iterator[None]:
        """Orders at this rate during the block; at its end every one of them has been answered."""
        self._load = Load(self.hub.url, self.accounts, self.history, rate, self.seed + self._began_rows)
        self._began_rows += 1
        self._load.start()
        try:
            yield
        finally:
            self._load.stop()
            give_up = time.monotonic() + 90
            while self._load.busy and time.monotonic() < give_up:
                self.sleep(0.1)

    def feed(self) -> None:
        """Read the feeds in the background for as long as this world stands."""
        self._feeding.set()

        def keep() -> None:
            while self._feeding.wait(0.1):
                for feed in self.feeds:
                    with feed.lock:
                        feed.pull()
                time.sleep(1)

        threading.Thread(target=keep, daemon=True).start()

    def began_anew(self) -> None:
        """The database has gone back in time: what was told before this moment counts no more."""
        self.history.fresh()
        self.sums_known = False
        self.verified = len(self.log.read().hooks)
        for feed in self.feeds:
            with feed.lock:
                feed.begin()

    # -- breaking ------------------------------------------------------------------------------------------------

    def arm(self, point: str, action: str = "kill9") -> Path:
        """The next process that reaches this point does that, once."""
        file = self.armed / point
        new = self.armed / f"{point}.new"
        new.write_text(action)
        new.rename(file)
        return file

    def strike(self, point: str, action: str = "kill9", times: int = 1, within: float = 60) -> None:
        """Arm, wait until somebody was struck, and again."""
        for _ in range(times):
            file = self.arm(point, action)
            try:
                self.wait_until(f"somebody at {point}", partial(is_gone, file), within)
            finally:
                file.unlink(missing_ok=True)

    def pid(self, name: str) -> int:
        return self.children[name].pid

    def web_workers(self) -> list[int]:
        """The processes that answer requests."""
        return children_of(self.pid("web"))

    def freeze(self, server: Server) -> None:
        for pid in (server.pid, *children_of(server.pid)):
            _signal(pid, signal.SIGSTOP)

    def thaw(self, server: Server) -> None:
        with contextlib.suppress(Exception):
            for pid in (*children_of(server.pid), server.pid):
                _signal(pid, signal.SIGCONT)

    def crash_postgres(self) -> None:
        """What `pg_ctl restart -m immediate` does: no checkpoint, recovery at start."""
        process_ = self.postgres.pid
        os.kill(process_, signal.SIGQUIT)
        self.postgres.stop()
        self.postgres.start()
        self.postgres.wait()

    def restart(self, server: Server) -> None:
        """SIGKILL, and start it again (a Redis comes back empty)."""
        server.kill()
        server.start()
        server.wait()

    def postgres_up(self) -> bool:
        with contextlib.suppress(psycopg.Error):
            return bool(self.rows("select 1"))
        return False

    def serving(self) -> bool:
        return parts.serving(f"{self.hub.url}/ready")

    @contextmanager
    def postgres_proxy(self) -> Iterator[Proxy]:
        """For who is given `proxied_database` instead of PostgreSQL."""
        name = ".s.PGSQL.5432"
        with Proxy(self.directory / "net" / name, self.postgres.sockets / name) as proxy:
            yield proxy

    @property
    def proxied_database(self) -> str:
        return f"postgresql://postgres@/joyfull?host={self.directory / 'net'}"

    @contextmanager
    def redis_proxy(self) -> Iterator[Proxy]:
        with Proxy(self.directory / "net" / "gate.sock", self.redis.socket) as proxy:
            yield proxy

    @property
    def proxied_redis(self) -> str:
        return f"unix://{self.directory / 'net' / 'gate.sock'}"

    @contextmanager
    def broker_proxy(self) -> Iterator[Proxy]:
        with Proxy(self.directory / "net" / "broker.sock", self.broker.socket) as proxy:
            yield proxy

    @property
    def proxied_broker(self) -> str:
        return f"unix://{self.directory / 'net' / 'broker.sock'}"

    def heal(self) -> None:
        """Whatever a fault left behind: nothing is armed, down or frozen any more."""
        for file in self.armed.iterdir():
            file.unlink(missing_ok=True)
        self.down.clear()
        for server in (self.broker, self.redis, self.postgres):
            self.thaw(server)
            if not self._answers(server):
                server.stop()
                server.start()
                server.wait()
        for name in [name for name in self.children if name.endswith("-2") and not name.startswith("invocations")]:
            self.remove(name)
        for what, status in (("tool", 200), ("hook", 204)):
            self.control(what, status)
        for name, part in self._as_made.items():
            if self.part(name) is not part:
                self.restore(part)

    def _answers(self, server: Server) -> bool:
        with contextlib.suppress(Exception):
            return server.is_ready()
        return False

    def gate(self) -> redis_kit.Client:
        return redis_kit.make_client(self.redis.url(), socket_timeout=30)

    def broker_client(self) -> redis_kit.Client:
        return redis_kit.make_client(self.broker.url(), socket_timeout=30)

    def control(self, what: str, status: int) -> None:
        """What `/tool/switch` or the receivers answer from now on."""
        url = f"http://127.0.0.1:{self.oracle_port}/control/{what}"
        with urllib.request.urlopen(urllib.request.Request(url, str(status).encode(), method="PUT"), timeout=10):
            pass

    def holder(self, invocation_id: str) -> str | None:
        """The name of the child that runs it now."""
        query = "select p.name from queue q join processes p on p.id = q.worker where q.id = %s"
        rows = self.rows(query, invocation_id)
        pid = int(rows[0][0].rsplit(":", 1)[1]) if rows else 0
        return next((name for name, child in self.children.items() if child.is_up and child.pid == pid), None)

    # -- asking --------------------------------------------------------------------------------------------------

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:  # Any: columns of any type
        """Straight from PostgreSQL, over a connection of its own."""
        with psycopg.connect(self.postgres.url(), connect_timeout=10, autocommit=True) as connection:
            cursor = connection.execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def number(self, query: str, *parameters: object) -> int:
        return int(self.rows(query, *parameters)[0][0] or 0)

    def all_alive(self) -> bool:
        """Every worker process that runs has a heartbeat."""
        query = "select name from processes where heartbeat_at > now() - interval '4 s' and not stopping"
        heartbeats = {int(name.rsplit(":", 1)[1]) for (name,) in self.rows(query)}
        workers = [c for n, c in self.children.items() if n.split("-")[0] in ("invocations", "webhooks", "sweeps")]
        return all(child.is_up and _family(child.pid) & heartbeats for child in workers)

    def quiet(self, account: Account) -> bool:
        """Whether nothing of this account is open."""
        return not self.number("select count(*) from queue where user_id = %s", account.user_id)

    def charged(self) -> dict[UUID, int]:
        """What each account has been charged, as the rows have it."""
        query = "select user_id, sum(tokens_used) from usage_logs group by 1"
        found = dict(self.rows(query))
        return {each.user_id: int(found.get(each.user_id, 0)) for each in self.accounts}


def children_of(pid: int) -> list[int]:
    """Direct children, as the kernel has them."""
    with contextlib.suppress(OSError):
        return [int(p) for t in Path(f"/proc/{pid}/task").iterdir() for p in (t / "children").read_text().split()]
    return []


def _family(pid: int) -> set[int]:
    return {pid, *(each for child in children_of(pid) for each in _family(child))}


def memory_of(pid: int) -> int:
    """Resident bytes of a process and its children, shared pages counted once each process (PSS)."""
    total = 0
    for each in _family(pid):
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
            total += 1024 * int(next(line for line in lines if line.startswith("Pss:")).split()[1])
    return total


def open_files_of(pid: int) -> int:
    total = 0
    for each in _family(pid):
        with contextlib.suppress(OSError):
            total += sum(1 for _ in Path(f"/proc/{each}/fd").iterdir())
    return total


def is_gone(file: Path) -> bool:
    return not file.exists()


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@contextmanager
def disks(directory: Path) -> Iterator[bool]:
    """`pg` and `var/log` on file systems of their own, so that they can be filled; False where that is forbidden."""
    mounted: list[Path] = []
    for name, size in (("pg", DISK), ("var/log", LOG_DISK)):
        place = directory / name
        place.mkdir(parents=True, mode=0o700)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode == 0:
            mounted.append(place)
    try:
        yield len(mounted) == 2
    finally:
        for place in mounted:
            subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)
        shutil.rmtree(directory, ignore_errors=True)
