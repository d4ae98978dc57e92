"""Can this process serve? What `/ready` asks, answered within `PATIENCE` seconds whatever hangs.

Each check runs in a thread of its own and is not started twice: a server that hangs costs one thread, not one per
question. The database is asked over a connection made for it, so that a full pool does not read as a dead server.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import text

from common.kit import clock, db, log, redis
from common.operations import instance
from common.settings import Settings

PATIENCE = 2.5
MIGRATIONS = Path(__file__).resolve().parent.parent.parent / "migrations"
#: A process says each second that it lives.
HEARTBEAT_SECONDS = 15
_HEARTBEATS = """
select count(*) from processes
 where split_part(split_part(name, '@', 2), ':', 1) = :host and pulse_at > now() - make_interval(secs => :seconds)
"""
logger = log.get(__name__)


class NotReady(Exception):
    """A part answers, but not as it should; the message says what is missing."""


def postgresql() -> None:
    """PostgreSQL answers, and its tables are those of this code (or newer: old code survives each migration)."""
    with db.private("joyfull-ready"), db.transaction() as session:
        if not session.scalar(text("select to_regclass('alembic_version') is not null")):
            raise NotReady("migrations have not been run")
        found = set(session.scalars(text("select version_num from alembic_version")))
    ours = _revisions()
    if found <= ours and found != _heads():
        raise NotReady("migrations are not at head")


def first_admin() -> None:
    """The admin that the settings name can log in: somebody has made them. Asked until it is so, and never again."""
    if _Admin.made:
        return
    with db.private("joyfull-ready"), db.transaction() as session:
        if session.scalar(text("select to_regclass('users') is not null")):
            _Admin.made = bool(session.scalar(text("select exists (select from users where role = 'admin')")))
    if not _Admin.made:
        raise NotReady("has not been made (`flask --app wsgi admin ensure`)")


class _Admin:
    made = False


def redis_server() -> None:
    """Redis answers, and is not another platform's."""
    with redis.reachable():
        redis.client().ping()
    if instance.refusal() is not None:
        raise NotReady("is used by another platform")


def worker(host: str) -> None:
    """A worker process of this host has a pulse. Raises `NotReady`."""
    with db.transaction() as session:
        if not session.scalar(text(_HEARTBEATS), {"host": host, "seconds": HEARTBEAT_SECONDS}):
            raise NotReady("no worker of this host has a pulse in the books")


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS))


@cache
def _revisions() -> set[str]:
    return {script.revision for script in _scripts().walk_revisions()}


@cache
def _heads() -> set[str]:
    return set(_scripts().get_heads())


class _Question:
    """One check, and the thread that may still be waiting for its answer."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._asked: Future[None] | None = None

    def ask(self) -> Future[None]:
        if self._asked is None or self._asked.done():
            self._asked = _threads().submit(self._check)
        return self._asked


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=len(_QUESTIONS), thread_name_prefix="ready")


_QUESTIONS = {
    "postgresql": _Question(postgresql),
    "redis": _Question(redis_server),
    "first_admin": _Question(first_admin),
}


def troubles(settings: Settings) -> dict[str, str]:
    """What is not ready, and why in a few words; empty when this process can serve."""
    give_up = clock.monotonic() + PATIENCE
    unasked = () if settings.admin_email and settings.admin_password else ("first_admin",)
    asked = {name: question.ask() for name, question in _QUESTIONS.items() if name not in unasked}
    answers = {name: _answer(future, give_up - clock.monotonic()) for name, future in asked.items()}
    return {name: trouble for name, trouble in answers.items() if trouble}


def _answer(future: Future[None], patience: float) -> str | None:
    try:
        future.result(max(0.0, patience))
    except NotReady as trouble:
        return str(trouble)
    except TimeoutError:
        return "does not answer in time"
    except (db.Unreachable, redis.Unreachable):
        return "cannot be reached"
    return None
