"""Metrics of invocations. The label `tool` is the slug: there are as many as the catalogue has."""

from __future__ import annotations

from functools import lru_cache
from uuid import UUID

from common import tools
from common.errors import NotFound
from common.invocations.model import Completion, Task
from common.kit import clock, db, log, metrics

logger = log.get(__name__)

COMPLETED = metrics.Counter("joyfull_invocations_ended", "Invocations completed, by final status", ["tool", "status"])
CHARGED = metrics.Counter("joyfull_tokens_charged", "Tokens charged for invocations", ["tool"])
ATTEMPTS = metrics.Counter("joyfull_tool_calls", "Tool calls, by outcome", ["tool", "outcome"])
DURATION = metrics.Histogram(
    "joyfull_tool_call_seconds", "Duration of tool calls", ["tool"], buckets=metrics.LONG_SECONDS
)
WAIT = metrics.Histogram(
    "joyfull_invocation_wait_seconds", "Time from acceptance to the first start", buckets=metrics.LONG_SECONDS
)
REJECTED = metrics.Counter("joyfull_stale_completions", "Completions rejected by the fencing token")


def completed(tool_id: UUID, status: str, charged: int) -> None:
    """A completion is committed."""
    tool = _slug(tool_id)
    COMPLETED.labels(tool, status).inc()
    CHARGED.labels(tool).inc(charged)


def started(task: Task) -> None:
    """An invocation was claimed: observe how long it waited before its first attempt."""
    if task.attempt == 1:
        WAIT.observe(max(0.0, clock.wall() - clock.made_at(task.id)))


def called(task: Task, completion: Completion) -> None:
    """A call has returned, whatever becomes of its result."""
    tool = _slug(task.tool_id)
    ATTEMPTS.labels(tool, completion.outcome).inc()
    if completion.duration_ms is not None:
        DURATION.labels(tool).observe(completion.duration_ms / 1000)


def rejected(task: Task, completion: Completion) -> None:
    """The fencing token rejected a completion: nothing was written."""
    REJECTED.inc()
    logger.warning("completion rejected by the fencing token", invocation_id=str(task.id), outcome=completion.outcome)


@lru_cache(maxsize=tools.REMEMBERED)
def _known_slug(tool_id: UUID) -> str:
    return tools.get(tool_id).slug


def _slug(tool_id: UUID) -> str:
    """A tool's slug, or "unknown": counting must not fail."""
    try:
        return _known_slug(tool_id)
    except (db.Unreachable, NotFound):
        return "unknown"
