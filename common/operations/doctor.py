"""Checks for deployment problems that no request reveals until they do damage: `flask --app wsgi doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import urlsplit

from common.invocations import sweeping
from common.kit import clock, db, redis
from common.kit.query import Query
from common.operations import database_roles, instance, readiness, redis_checks
from common.operations.redis_checks import CheckFailed
from common.queueing import messages
from common.settings import DEVELOPMENT_SECRETS, Settings

MAX_SKEW_SECONDS = 2.0
#: Kombu's default.
DEFAULT_VISIBILITY_SECONDS = 3600
MAX_QUEUED_SECONDS = 300.0
#: Beat schedules several sweeps every 10 seconds.
MAX_SILENT_SECONDS = 60.0


class Seconds(NamedTuple):
    """A duration, or Unix time."""

    seconds: Decimal | None


class LiveWorkers(NamedTuple):
    """How many workers of a kind have a recent heartbeat."""

    kind: str
    several: int


class ProgressRow(NamedTuple):
    """How long no worker of a kind has made progress, in seconds."""

    kind: str
    silent: Decimal


_LONGEST_CALL = Query(
    """
select greatest((select max(v.timeout_seconds) from tools t
                   join tool_versions v on v.tool_id = t.id and v.version = t.version where t.archived_at is null),
                (select max(timeout_seconds) from queue), 0) as seconds
""",
    Seconds,
)
_NOW = Query("select extract(epoch from clock_timestamp()) as seconds", Seconds)
_SILENT = Query("select extract(epoch from clock_timestamp() - max(ran_at)) as seconds from sweep_runs", Seconds)
_WORKERS = Query(
    """
select k.kind, count(*) as several
  from processes p cross join string_to_table(split_part(p.name, '@', 1), ',') k(kind)
 where not p.stopping and p.heartbeat_at > now() - interval '30 seconds' group by k.kind order by k.kind
""",
    LiveWorkers,
)
_PROGRESS = Query(
    """
select k.kind, extract(epoch from clock_timestamp() - max(p.progress_at)) as silent
  from processes p cross join string_to_table(split_part(p.name, '@', 1), ',') k(kind)
 where not p.stopping group by k.kind
""",
    ProgressRow,
)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check; `detail` is what was observed, or the problem."""

    name: str
    passed: bool
    detail: str


def run_checks(settings: Settings) -> Iterator[CheckResult]:
    """Run every check in turn; an unreachable server is reported as a failed check."""
    checks: Mapping[str, Callable[[], str]] = {
        "migrations": _migrations,
        "database role": _role,
        "connection limits": _limits,
        "read replica": _replica,
        "instance": _instance,
        "redis eviction": redis_checks.eviction,
        "redis failover": lambda: redis_checks.failover(settings.redis_url),
        "visibility timeout": _visibility,
        "clock of postgresql": lambda: _skew("PostgreSQL", _postgresql_time),
        "clock of redis": lambda: _skew("Redis", _redis_time),
        "workers": _workers,
        "beat": _beat,
        "queue": _queue,
        "workers consume": _unconsumed_queues,
        "secrets": lambda: _secrets(settings),
        "mail": lambda: _mail(settings),
    }
    for name, check in checks.items():
        try:
            yield CheckResult(name, True, check())
        except (CheckFailed, readiness.NotReady) as failure:
            yield CheckResult(name, False, str(failure))
        except db.Unreachable:
            yield CheckResult(name, False, "unreachable (PostgreSQL)")
        except redis.RedisUnreachable:
            yield CheckResult(name, False, "unreachable (Redis)")


def _migrations() -> str:
    readiness.postgresql()
    return "at head"


def _role() -> str:
    """A compromised process has the privileges of its database role; these should not include changing the ledger."""
    with db.transaction() as session:
        name, safe = database_roles.current(session)
        unreadable = database_roles.unreadable(session)
    if unreadable:
        raise CheckFailed(f"{name} cannot read {', '.join(unreadable)}: run `roles grant` as the owner of the tables.")
    if safe:
        return f"{name} cannot change the ledger"
    return f"{name} can change and drop tables; consider a separate role (`roles grant`)"


def _limits() -> str:
    if missing := db.missing_limits():
        raise CheckFailed(f"Not set for connections: {', '.join(missing)}. With PgBouncer, set connect_query.")
    return "all set"


def _replica() -> str:
    """One that lags, or does not belong here, is noticed by nobody: the primary answers instead of it."""
    if not db.has_replica():
        return "none: the primary answers every read"
    try:
        seen = f"{db.replica_state().lag:,} bytes behind"
        return f"{seen}, its clock {_skew('the replica', lambda: db.replica_state().seconds)}"
    except db.UnusableReplica as reason:
        raise CheckFailed(f"{reason} The primary answers every read.") from reason


def _instance() -> str:
    """Two platforms that share a Redis mix up their budget gates and consume each other's messages."""
    try:
        instance.check()
    except instance.Foreign as foreign:
        raise CheckFailed(str(foreign)) from foreign
    return str(instance.name())


def _visibility() -> str:
    """If `acks_late` were enabled, every call longer than the visibility timeout would be executed twice."""
    if messages.on_rabbitmq():
        return "not applicable to RabbitMQ"
    allowed = int(messages.app().conf.broker_transport_options.get("visibility_timeout", DEFAULT_VISIBILITY_SECONDS))
    longest = int(db.execute(_LONGEST_CALL, {})[0].seconds or 0)
    seen = f"{allowed} s, the longest call may take {longest} s"
    if longest >= allowed:
        raise CheckFailed(f"{seen}: raise visibility_timeout in celeryconfig.py above it.")
    return seen


def _skew(what: str, read: Callable[[], float]) -> str:
    """Compare another server's clock with this host's at the midpoint of the request."""
    before = clock.now().timestamp()
    theirs = read()
    after = clock.now().timestamp()
    skew = abs(theirs - (before + after) / 2)
    if skew > MAX_SKEW_SECONDS + (after - before) / 2:
        raise CheckFailed(f"The clocks of this host and {what} differ by {skew:.1f} s: run NTP on both.")
    return f"{skew:.3f} s apart"


def _postgresql_time() -> float:
    return float(db.execute(_NOW, {})[0].seconds or 0)


def _redis_time() -> float:
    with redis.reachable():
        seconds, micros = redis.client().time()
    return float(seconds) + float(micros) / 1e6


def _workers() -> str:
    found = {row.kind: row.several for row in db.execute(_WORKERS, {})}
    missing = [kind for kind in ("invocations", "webhooks", "sweeps") if not found.get(kind)]
    if missing:
        raise CheckFailed(f"No worker is running for: {', '.join(missing)}.")
    return ", ".join(f"{several} × {kind}" for kind, several in found.items())


def _beat() -> str:
    seconds = db.execute(_SILENT, {})[0].seconds
    if seconds is None or seconds > MAX_SILENT_SECONDS:
        since = "has ever run" if seconds is None else f"has run for {seconds:.0f} s"
        raise CheckFailed(f"No sweep {since}: check that beat and a worker for the queue sweeps are running.")
    return f"last sweep {seconds:.0f} s ago"


def _queue() -> str:
    depth = sweeping.depth()
    seen = f"{depth.depth} open, {depth.running} running, the oldest due one has waited {depth.oldest:.0f} s"
    if depth.oldest > MAX_QUEUED_SECONDS:
        raise CheckFailed(f"{seen}: add workers, or check their logs.")
    return seen


def _unconsumed_queues() -> str:
    """Fail when messages are waiting and no worker of their queue has made progress for `MAX_SILENT_SECONDS`."""
    unresponsive = [
        row.kind for row in db.execute(_PROGRESS, {}) if row.silent > MAX_SILENT_SECONDS and messages.waiting(row.kind)
    ]
    if unresponsive:
        raise CheckFailed(
            f"No worker is consuming: {', '.join(unresponsive)}. Check the logs of these workers and restart them."
        )
    return "every queue is being consumed"


def _secrets(settings: Settings) -> str:
    used = {
        "JWT_SECRET_KEY": settings.jwt_secret_keys,
        "SECRETS_KEYS": settings.secrets_keys,
        "FLOWER_BASIC_AUTH": (settings.flower_basic_auth,),
    }
    known = [name for name, values in used.items() if DEVELOPMENT_SECRETS[name] in values]
    if known and settings.production:
        raise CheckFailed(f"Publicly known development secrets are in use: {', '.join(known)}. Set your own.")
    if known:
        return f"for development only: {', '.join(known)} have publicly known values"
    return "no development secret is in use"


def _mail(settings: Settings) -> str:
    """Users rarely report mails that never arrive, or links that lead to localhost."""
    problems = []
    if settings.smtp_url is None:
        problems.append("Mails are only written to files: set SMTP_URL.")
    if urlsplit(settings.public_url).hostname in ("localhost", "127.0.0.1", "::1"):
        problems.append(f"Links in mails lead to {settings.public_url}: set PUBLIC_URL.")
    if problems and settings.production:
        raise CheckFailed(" ".join(problems))
    return f"for development only: {' '.join(problems)}" if problems else f"sent, with links to {settings.public_url}"
