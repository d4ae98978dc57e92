"""What is done over and over: each second by one keeper (it needs no broker), the rest when beat says so.

Everything here is bounded, idempotent, and harmless when it is done twice or by two at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from common import budgets, idempotency, invocations, subscriptions, usage, webhooks
from common.identity import accounts
from common.kit import clock, db, log, metrics, redis
from common.notifications import mails
from common.operations import instance
from common.queueing import messages
from common.settings import Settings
from common.tools import breakers

logger = log.get(__name__)

RUNS = metrics.Counter("joyfull_sweep_runs", "Periodic pieces of work done", ["sweep", "outcome"])
DURATION = metrics.Histogram(
    "joyfull_sweep_seconds", "Time that periodic pieces of work took", ["sweep"], buckets=metrics.LONG_SECONDS
)
EVERY_SECOND: Final = "every-second"
LOCK: Final = 0x4A4F5946  # "JOYF": one process does the second's sweep, the others skip it


#: Longer than clocks of two hosts differ: whether a bell comes too late is asked of the database (`run_in_turn`).
BELL_SECONDS: Final = 600.0
#: Refused so often in a row, a process sweeps all the same: whoever froze in the middle of it still has the lock.
PATIENCE: Final = 15


class _State:
    public_url = ""
    refused = 0
    usage_months = payload_days = 0


def configure(settings: Settings) -> None:
    """Where links in mails lead, and how long things are kept."""
    _State.public_url = settings.public_url
    _State.usage_months = settings.usage_retention_months
    _State.payload_days = settings.payload_retention_days


def _retire_usage() -> object:
    return usage.retire_months(_State.usage_months) if _State.usage_months else "kept"


def _drop_payloads() -> object:
    return invocations.drop_payloads(_State.payload_days) if _State.payload_days else "kept"


def every_second(threads: int) -> None:
    """Take back lost work, expire, place, lift, ring: one process at a time, under an advisory lock."""
    with db.only_one(LOCK) as chosen:
        if not _my_turn(chosen=chosen):
            return
        paused = breakers.open_tools()
        sweep = invocations.sweeping
        for step in (
            sweep.reap_dead_processes,
            sweep.expire,
            lambda: sweep.unplace_paused(paused),
            lambda: sweep.place_waiting(paused),
            sweep.raise_start_tags,
            lambda: sweep.notify_for_ready(threads),
            webhooks.expire_leases,
            webhooks.unpark,
            webhooks.notify_due,
            instance.keep,
        ):
            _try(step)
        RUNS.labels(EVERY_SECOND, "done").inc()


def _my_turn(*, chosen: bool) -> bool:
    """Whether to sweep now; without the lock too, when it has been out of reach for `PATIENCE` seconds."""
    _State.refused = 0 if chosen else _State.refused + 1
    if _State.refused < PATIENCE:
        return chosen
    logger.warning("sweeping without the lock: who holds it may be frozen")
    _State.refused = 0
    return True


def _try(step: Callable[[], object]) -> None:
    """One step's trouble must not keep the others from being done."""
    try:
        step()
    except (db.Unreachable, redis.Unreachable) as error:
        RUNS.labels(EVERY_SECOND, "failed").inc()
        logger.warning("a step of the sweep waits for a server", reason=str(error) or type(error).__name__)
    except Exception:
        RUNS.labels(EVERY_SECOND, "failed").inc()
        logger.exception("a step of the sweep failed", step=getattr(step, "__name__", "step"))


#: name → (seconds, what). Beat rings `sweeps.<name>`.
PERIODIC: Final[dict[str, tuple[float, Callable[[], object]]]] = {
    "roll-up-usage": (10.0, usage.catch_up),
    "free-orphaned-holds": (15.0, budgets.free_orphans),
    "tell-of-thresholds": (60.0, invocations.sweeping.record_missed_thresholds),
    "renew-periods": (60.0, subscriptions.renew_due),
    "forget-old-keys": (60.0, lambda: invocations.sweeping.forget_old_keys() + idempotency.forget_old()),
    "add-usage-months": (3600.0, usage.add_months),
    "retire-usage-months": (3600.0, _retire_usage),
    "drop-payloads": (600.0, _drop_payloads),
    "drop-unused-payloads": (600.0, invocations.drop_unused_payloads),
    "measure-payloads": (3600.0, invocations.storage.measure),
    "disable-failing-webhooks": (300.0, webhooks.disable_failing),
    "prune-events": (3600.0, webhooks.prune),
    "send-mails": (10.0, lambda: mails.send_due(_State.public_url)),
    "purge-mails": (3600.0, mails.purge),
    "forget-old-sessions": (3600.0, accounts.purge),
}


def run_in_turn(name: str) -> None:
    """What a bell of beat asks for, unless it was just done: two beats ring twice, and bells may have piled up."""
    seconds, _ = PERIODIC[name]
    if not invocations.sweeping.lately(name, seconds / 2):
        run(name)


def run(name: str) -> None:
    """Do one periodic piece of work by its name, and write down that it was done."""
    _, work = PERIODIC[name]
    started, failed = clock.monotonic(), True
    try:
        result = work()
        failed = False
        logger.debug("sweep done", sweep=name, result=str(result))
    finally:
        seconds = clock.monotonic() - started
        RUNS.labels(name, "failed" if failed else "done").inc()
        DURATION.labels(name).observe(seconds)
        invocations.sweeping.note(name, round(1000 * seconds), failed=failed)


def beat_schedule() -> dict[str, dict[str, object]]:
    """What Celery beat is to ring; a bell that nobody hears for so long is void (by the clock of whoever hears it)."""
    return {
        name: {
            "task": messages.SWEEP,
            "schedule": seconds,
            "args": (name,),
            "options": {"queue": "sweeps", "expires": seconds + BELL_SECONDS},
        }
        for name, (seconds, _) in PERIODIC.items()
    }
