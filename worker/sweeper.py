"""Periodic work: the sweep of every second, begun by one heartbeat thread without a broker, and the sweeps of beat.

Each step is bounded, idempotent, and safe to run twice or concurrently.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final

from common import boot, budgets, invocations, subscriptions, usage, webhooks
from common.identity import accounts, delegation, idempotency
from common.invocations import SubmitRules, schedules
from common.kit import clock, db, log, metrics, redis
from common.notifications import mails
from common.operations import account_deletion, instance, verifications
from common.operations.polling import Look
from common.queueing import messages
from common.settings import Settings
from common.tools import breakers

logger = log.get(__name__)

RUNS = metrics.Counter("joyfull_sweep_runs", "Sweep runs", ["sweep", "outcome"])
DURATION = metrics.Histogram("joyfull_sweep_seconds", "Duration of sweeps", ["sweep"], buckets=metrics.LONG_SECONDS)
EVERY_SECOND: Final = "every-second"
LOCK: Final = 0x4A4F5946  # "JOYF": the process that holds it sweeps, the others skip


#: Added to the expiry of beat's messages: more than the clocks of two hosts differ. Late ones check the database.
EXPIRY_MARGIN_SECONDS: Final = 600.0
RETRIED: Final = {"retry": True, "retry_policy": {"max_retries": 3, "interval_start": 0, "interval_step": 0.2}}
#: After this many failures in a row to get the lock, sweep without it: the holder may be frozen.
MAX_SKIPPED: Final = 15


class _SweeperState:
    public_url = ""
    skipped = 0
    usage_months = payload_days = 0
    verified_only = False
    firing: threading.Thread | None = None


def configure(settings: Settings) -> None:
    """Set the base URL of links in mails, the retention periods, and whether accounts have to be verified."""
    _SweeperState.public_url = settings.public_url
    _SweeperState.usage_months = settings.usage_retention_months
    _SweeperState.payload_days = settings.payload_retention_days
    _SweeperState.verified_only = settings.email_verification_required


def _retire_usage() -> object:
    return usage.retire_months(_SweeperState.usage_months) if _SweeperState.usage_months else "kept"


def _drop_payloads() -> object:
    return invocations.drop_payloads(_SweeperState.payload_days) if _SweeperState.payload_days else "kept"


def _forget_old_keys() -> int:
    return invocations.sweeping.forget_old_keys() + idempotency.forget_old() + invocations.joining.forget_old()


def _fire_schedules() -> None:
    """In a thread of its own, one at a time: an input may be checked for longer than a heartbeat may be late."""
    firing = _SweeperState.firing
    if firing is None or not firing.is_alive():
        _SweeperState.firing = threading.Thread(target=_fire, name="schedules", daemon=True)
        _SweeperState.firing.start()


def _fire() -> None:
    with db.private("joyfull-schedules"):
        attempt(lambda: schedules.fire_due(SubmitRules(boot.outbound(), _SweeperState.verified_only)))


def every_second(seen: Look, threads: int) -> None:
    """Do what there is to do: in one process at a time, under an advisory lock, which is not asked for in vain."""
    attempt(lambda: instance.keep(seen.platform))
    if not (seen.queue or seen.deliveries or seen.schedules):
        _SweeperState.skipped = 0
    else:
        with db.advisory_lock(LOCK) as acquired:
            if not _my_turn(acquired=acquired):
                return
            for step in _steps(seen, threads):
                attempt(step)
    RUNS.labels(EVERY_SECOND, "done").inc()


def _steps(seen: Look, threads: int) -> Iterator[Callable[[], object]]:
    """Recover lost work, expire, assign slots, notify; the same for deliveries; fire schedules."""
    if seen.queue:
        paused, sweep = breakers.open_tools(), invocations.sweeping
        yield sweep.reap_dead_processes
        yield sweep.expire
        yield lambda: sweep.unplace_paused(paused)
        yield lambda: sweep.admit_waiting(paused)
        yield lambda: sweep.place_waiting(paused)
        yield sweep.raise_start_tags
        yield lambda: sweep.notify_for_ready(threads)
    if seen.deliveries:
        yield from (webhooks.expire_leases, webhooks.unpark, webhooks.notify_due)
    if seen.schedules:
        yield _fire_schedules


def _my_turn(*, acquired: bool) -> bool:
    """Whether to sweep now: with the lock, or without it after `MAX_SKIPPED` failures to get it."""
    _SweeperState.skipped = 0 if acquired else _SweeperState.skipped + 1
    if _SweeperState.skipped < MAX_SKIPPED:
        return acquired
    logger.warning("sweeping without the lock: its holder may be frozen")
    _SweeperState.skipped = 0
    return True


def attempt(step: Callable[[], object]) -> None:
    """Run one step; a failure must not prevent the others."""
    try:
        step()
    except (db.Unreachable, redis.RedisUnreachable) as error:
        RUNS.labels(EVERY_SECOND, "failed").inc()
        logger.warning("sweep step postponed: server unavailable", reason=str(error) or type(error).__name__)
    except Exception:
        RUNS.labels(EVERY_SECOND, "failed").inc()
        logger.exception("sweep step failed", step=getattr(step, "__name__", "step"))


#: name → (interval in seconds, function). Beat sends the task `sweeps.run` with the name.
PERIODIC: Final[dict[str, tuple[float, Callable[[], object]]]] = {
    "roll-up-usage": (10.0, usage.catch_up),
    "roll-up-failures": (10.0, invocations.failure_sums.roll_up),
    "free-orphaned-holds": (15.0, budgets.free_orphans),
    "tell-of-thresholds": (60.0, invocations.sweeping.record_missed_thresholds),
    "renew-periods": (60.0, subscriptions.renew_due),
    "settle-remainders": (15.0, subscriptions.settle_remainders),
    "forget-old-keys": (60.0, _forget_old_keys),
    "refresh-tool-latencies": (300.0, usage.refresh_latencies),
    "add-usage-months": (3600.0, usage.add_months),
    "retire-usage-months": (3600.0, _retire_usage),
    "drop-payloads": (600.0, _drop_payloads),
    "drop-unused-payloads": (600.0, invocations.drop_unused_payloads),
    "measure-payloads": (3600.0, invocations.storage.measure),
    "disable-failing-webhooks": (300.0, webhooks.disable_failing),
    "prune-events": (3600.0, webhooks.prune),
    "send-mails": (10.0, lambda: mails.send_due(_SweeperState.public_url)),
    "purge-mails": (3600.0, mails.purge),
    "forget-old-sessions": (3600.0, accounts.purge),
    "remove-delegated-keys": (3600.0, delegation.remove_old),
    "finish-deletions": (10.0, account_deletion.finish),
    "verify-ledger": (900.0, verifications.verify_if_due),
}


def run_in_turn(name: str) -> None:
    """Run a sweep for a message of beat, unless it has just run: beat may run twice, or messages have piled up.

    A name that only a newer release knows, whose beat runs already, is left to that.
    """
    if name not in PERIODIC:
        logger.warning("unknown sweep skipped", sweep=name)
        return
    seconds, _ = PERIODIC[name]
    if not invocations.sweeping.lately(name, seconds / 2):
        run(name)


def run(name: str) -> None:
    """Run one sweep by name, and record the run."""
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
    """The schedule for Celery beat. Messages expire (by the consumer's clock), so that a backlog is discarded.

    Beat keeps one connection, and makes another (to the next node of RabbitMQ) only when it retries.
    """
    return {
        name: {
            "task": messages.SWEEP,
            "schedule": seconds,
            "args": (name,),
            "options": {"queue": "sweeps", "expires": seconds + EXPIRY_MARGIN_SECONDS, **RETRIED},
        }
        for name, (seconds, _) in PERIODIC.items()
    }
