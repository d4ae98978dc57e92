"""Readiness checks for `/ready`, answered within `DEADLINE_SECONDS` even when a server hangs.

Each check runs in a thread of its own and is not started twice: a server that hangs costs one thread, not one per
request. The database is queried over a separate connection, so that an exhausted pool does not look like a dead server.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

from sqlalchemy import text

from common.kit import clock, db, log, redis
from common.operations import instance
from common.settings import Settings

DEADLINE_SECONDS = 2.5
MIGRATIONS = Path(__file__).resolve().parent.parent.parent / "migrations"
#: Maximum age of a heartbeat; each process writes one per second.
HEARTBEAT_SECONDS = 15
_HEARTBEATS = """
select count(*) from processes
 where split_part(split_part(name, '@', 2), ':', 1) = :host and heartbeat_at > now() - make_interval(secs => :seconds)
"""
logger = log.get(__name__)


class NotReady(Exception):
    """A dependency answers but cannot be used; the message says what is missing."""


def postgresql() -> None:
    """PostgreSQL answers and is at this code's migration, or a newer one (migrations are backward compatible)."""
    with db.private("joyfull-ready"), db.transaction() as session:
        if not session.scalar(text("select to_regclass('alembic_version') is not null")):
            raise NotReady("migrations have not been run")
        found = set(session.scalars(text("select version_num from alembic_version")))
    ours = revisions()
    if found <= {*ours} and found != {ours[-1]}:
        raise NotReady("migrations are not at head")


def first_admin() -> None:
    """The admin named in the settings exists and can log in. A positive answer is remembered."""
    if _Admin.exists:
        return
    with db.private("joyfull-ready"), db.transaction() as session:
        if session.scalar(text("select to_regclass('users') is not null")):
            _Admin.exists = bool(session.scalar(text("select exists (select from users where role = 'admin')")))
    if not _Admin.exists:
        raise NotReady("does not exist (run `flask --app wsgi admin ensure`)")


class _Admin:
    exists = False


def redis_server() -> None:
    """Redis answers and belongs to this platform."""
    with redis.reachable():
        redis.client().ping()
    if instance.refusal() is not None:
        raise NotReady("is used by another platform")


def worker(host: str) -> None:
    """A worker process of this host has a recent heartbeat. Raises `NotReady`."""
    with db.transaction() as session:
        if not session.scalar(text(_HEARTBEATS), {"host": host, "seconds": HEARTBEAT_SECONDS}):
            raise NotReady("no worker on this host has a recent heartbeat")


@cache
def revisions() -> list[str]:
    """Those of this code, in their order: each file's name begins with its own. (Alembic is 7 MB in each worker.)"""
    return sorted(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


class _Check:
    """One check, and its run that may still be under way."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._run: Future[None] | None = None

    def start(self) -> Future[None]:
        if self._run is None or self._run.done():
            self._run = _threads().submit(self._check)
        return self._run


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=len(_CHECKS), thread_name_prefix="ready")


_CHECKS = {
    "postgresql": _Check(postgresql),
    "redis": _Check(redis_server),
    "first_admin": _Check(first_admin),
}


def problems(settings: Settings) -> dict[str, str]:
    """What is not ready, with a short reason each; empty when this process can serve."""
    deadline = clock.monotonic() + DEADLINE_SECONDS
    skipped = () if settings.admin_email and settings.admin_password else ("first_admin",)
    started = {name: check.start() for name, check in _CHECKS.items() if name not in skipped}
    results = {name: _problem(future, deadline - clock.monotonic()) for name, future in started.items()}
    return {name: problem for name, problem in results.items() if problem}


def _problem(future: Future[None], timeout: float) -> str | None:
    try:
        future.result(max(0.0, timeout))
    except NotReady as reason:
        return str(reason)
    except TimeoutError:
        return "does not answer in time"
    except (db.Unreachable, redis.RedisUnreachable):
        return "cannot be reached"
    return None
