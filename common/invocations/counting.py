"""What is counted of the story for Prometheus. Tools go by their slug: there are as many as the catalogue has."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from common import tools
from common.errors import NotFound
from common.invocations.model import End, Task
from common.kit import clock, db, log, metrics

logger = log.get(__name__)

ENDED = metrics.Counter("joyfull_invocations_ended", "Invocations that came to an end", ["tool", "status"])
CHARGED = metrics.Counter("joyfull_tokens_charged", "Tokens charged for invocations", ["tool"])
ATTEMPTS = metrics.Counter("joyfull_tool_calls", "Calls of tools, by how they ended", ["tool", "outcome"])
DURATION = metrics.Histogram(
    "joyfull_tool_call_seconds", "Time that calls of tools took", ["tool"], buckets=metrics.LONG_SECONDS
)
WAIT = metrics.Histogram(
    "joyfull_invocation_wait_seconds", "Time from acceptance to the first start", buckets=metrics.LONG_SECONDS
)
STALE = metrics.Counter("joyfull_stale_completions", "Ends that were not written: the row was somebody else's by then")


def ended(row: Row[Any]) -> None:
    """An end is committed: `tool_id`, `status`, `charged`."""
    tool = _slug(row.tool_id)
    ENDED.labels(tool, row.status).inc()
    CHARGED.labels(tool).inc(row.charged)


def begun(task: Task) -> None:
    if task.attempt == 1:
        WAIT.observe(max(0.0, clock.wall() - clock.made_at(task.id)))


def called(task: Task, end: End) -> None:
    """A call has come to an end, whatever becomes of its result."""
    tool = _slug(task.tool_id)
    ATTEMPTS.labels(tool, end.outcome).inc()
    if end.duration_ms is not None:
        DURATION.labels(tool).observe(end.duration_ms / 1000)


def stale(task: Task, end: End) -> None:
    """Nothing was written: the token is not the row's any more (I7)."""
    STALE.inc()
    logger.warning("end dropped: the row is somebody else's", invocation_id=str(task.id), outcome=end.outcome)


@lru_cache(maxsize=tools.REMEMBERED)
def _known_slug(tool_id: UUID) -> str:
    return tools.get(tool_id).slug


def _slug(tool_id: UUID) -> str:
    """Counting must not fail for a name."""
    try:
        return _known_slug(tool_id)
    except (db.Unreachable, NotFound):
        return "unknown"
