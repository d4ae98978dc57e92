"""What matters in a deployment and no request notices until it hurts: `flask --app wsgi doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import text

from common.invocations import sweeping
from common.kit import clock, db, redis
from common.operations import database_roles, instance, readiness
from common.queueing import messages
from common.settings import DEVELOPMENT_SECRETS, Settings

MAX_SKEW_SECONDS = 2.0
#: Kombu's, where none is set.
DEFAULT_VISIBILITY_SECONDS = 3600
MAX_QUEUED_SECONDS = 300.0
#: Beat rings several of the sweeps every 10 seconds.
MAX_SILENT_SECONDS = 60.0

_LONGEST_CALL = text("""
select greatest((select max(v.timeout_seconds) from tools t
                   join tool_versions v on v.tool_id = t.id and v.version = t.version where t.archived_at is null),
                (select max(timeout_seconds) from queue), 0)
""")
_NOW = text("select extract(epoch from clock_timestamp())")
_SILENT = text("select extract(epoch from clock_timestamp() - max(ran_at)) as seconds from sweep_runs")
_WORKERS = text("""
select k.kind, count(*) as several
  from processes p cross join string_to_table(split_part(p.name, '@', 1), ',') k(kind)
 where not p.stopping and p.pulse_at > now() - interval '30 seconds' group by k.kind order by k.kind
""")
_PROGRESS = text("""
select k.kind, extract(epoch from clock_timestamp() - max(p.progress_at)) as silent
  from processes p cross join string_to_table(split_part(p.name, '@', 1), ',') k(kind)
 where not p.stopping group by k.kind
""")


class Unwell(Exception):
    """A finding; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One look: `detail` says what was seen."""

    name: str
    well: bool
    detail: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, one after the other; whatever is away is a finding too."""
    looks: Mapping[str, Callable[[], str]] = {
        "migrations": _migrations,
        "database role": _role,
        "instance": _instance,
        "redis eviction": _eviction,
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
    for name, look in looks.items():
        try:
            yield Finding(name, True, look())
        except (Unwell, readiness.NotReady) as finding:
            yield Finding(name, False, str(finding))
        except (db.Unreachable, redis.Unreachable) as error:
            yield Finding(name, False, f"cannot be reached ({type(error).__module__.rpartition('.')[2]})")


def _migrations() -> str:
    readiness.postgresql()
    return "at head"


def _role() -> str:
    """Whoever gets into a process of ours can do what its role may: nothing to the ledger, at best."""
    with db.transaction() as session:
        name, safe = database_roles.current(session)
        unreadable = database_roles.unreadable(session)
    if unreadable:
        raise Unwell(f"{name} may not read {', '.join(unreadable)}: run `roles grant` as the owner of the tables.")
    return f"{name} cannot change the ledger" if safe else f"{name} can change and drop tables: roles can be separated"


def _instance() -> str:
    """Two platforms on one Redis take each other's gates for their own, or bells that are not theirs."""
    try:
        instance.check()
    except instance.Foreign as foreign:
        raise Unwell(str(foreign)) from foreign
    return str(instance.name())


def _eviction() -> str:
    """An evicted budget gate is rebuilt; an evicted message or sign of an account change is lost without a word."""
    with redis.reachable():
        policy = redis.client().info("memory")["maxmemory_policy"]
    if policy != "noeviction":
        raise Unwell(f"Redis may evict keys: set maxmemory-policy to noeviction (it is {policy}).")
    return str(policy)


def _visibility() -> str:
    """A bell is acknowledged before its work begins, so this can only ring twice for nothing; unless somebody has
    changed that, and then every call that takes longer would be made again.
    """
    if messages.on_rabbitmq():
        return "RabbitMQ has none"
    allowed = int(messages.app().conf.broker_transport_options.get("visibility_timeout", DEFAULT_VISIBILITY_SECONDS))
    longest = int(db.execute(_LONGEST_CALL, {})[0][0])
    seen = f"{allowed} s, the longest call may take {longest} s"
    if longest >= allowed:
        raise Unwell(f"{seen}: raise visibility_timeout in celeryconfig.py above it.")
    return seen


def _skew(what: str, read: Callable[[], float]) -> str:
    """The clock of this host against another, as it was half-way through the question."""
    before = clock.now().timestamp()
    theirs = read()
    after = clock.now().timestamp()
    skew = abs(theirs - (before + after) / 2)
    if skew > MAX_SKEW_SECONDS + (after - before) / 2:
        raise Unwell(f"The clocks of this host and of {what} differ by {skew:.1f} s: run NTP on both.")
    return f"{skew:.3f} s apart"


def _postgresql_time() -> float:
    return float(db.execute(_NOW, {})[0][0])


def _redis_time() -> float:
    with redis.reachable():
        seconds, micros = redis.client().time()
    return float(seconds) + float(micros) / 1e6


def _workers() -> str:
    found = {row.kind: row.several for row in db.execute(_WORKERS, {})}
    missing = [kind for kind in ("invocations", "webhooks", "sweeps") if not found.get(kind)]
    if missing:
        raise Unwell(f"No worker listens to: {', '.join(missing)}.")
    return ", ".join(f"{several} × {kind}" for kind, several in found.items())


def _beat() -> str:
    seconds = db.execute(_SILENT, {})[0].seconds
    if seconds is None or seconds > MAX_SILENT_SECONDS:
        since = "ever" if seconds is None else f"for {seconds:.0f} s"
        raise Unwell(f"No periodic work was done {since}: is beat running, and a worker for the queue sweeps?")
    return f"periodic work was done {seconds:.0f} s ago"


def _queue() -> str:
    depth = sweeping.depth()
    seen = f"{depth.depth} open, {depth.running} running, the oldest due one has waited {depth.oldest:.0f} s"
    if depth.oldest > MAX_QUEUED_SECONDS:
        raise Unwell(f"{seen}: add workers, or look into their logs.")
    return seen


def _unconsumed_queues() -> str:
    """Messages wait, and no worker of their queue has consumed one or completed a call for long."""
    unresponsive = [
        row.kind for row in db.execute(_PROGRESS, {}) if row.silent > MAX_SILENT_SECONDS and messages.waiting(row.kind)
    ]
    if unresponsive:
        raise Unwell(
            f"No worker is consuming: {', '.join(unresponsive)}. Read the logs of these workers and restart them."
        )
    return "heard"


def _secrets(settings: Settings) -> str:
    used = {
        "JWT_SECRET_KEY": settings.jwt_secret_keys,
        "SECRETS_KEYS": settings.secrets_keys,
        "FLOWER_BASIC_AUTH": (settings.flower_basic_auth,),
    }
    known = [name for name, values in used.items() if DEVELOPMENT_SECRETS[name] in values]
    if known and settings.production:
        raise Unwell(f"Everybody knows these: {', '.join(known)}. Set your own.")
    if known:
        return f"for development only: everybody knows {', '.join(known)}"
    return "none of them is a development secret"


def _mail(settings: Settings) -> str:
    """Nobody complains of a reset link that never comes, or that leads to their own machine."""
    lost = []
    if settings.smtp_url is None:
        lost.append("Mails are only written to files: set SMTP_URL.")
    if urlsplit(settings.public_url).hostname in ("localhost", "127.0.0.1", "::1"):
        lost.append(f"Links in mails lead to {settings.public_url}: set PUBLIC_URL.")
    if lost and settings.production:
        raise Unwell(" ".join(lost))
    return f"for development only: {' '.join(lost)}" if lost else f"sent, with links to {settings.public_url}"
