"""Task events for Flower: each tool call appears as a task with its invocation's id.

A Celery job may run a hundred invocations, so Celery's own events show little. These events are buffered and sent once
a second in one message, by a thread that may wait for the broker; calls never do. A call that has begun and ended since
is one event, whose `started` says when it began. Nothing depends on them, and they are dropped while the broker is
unavailable.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Final
from uuid import UUID

from celery import current_task
from celery.events import EventDispatcher
from kombu.exceptions import KombuError

from common.kit import log
from common.queueing import messages

logger = log.get(__name__)

#: Maximum number of buffered events of each kind; the oldest ends are dropped.
KEPT: Final = 2_000


class TaskEvents:
    """The events of one process. Call `begun` and `ended` from any thread, `begin` and `flush` from one."""

    def __init__(self) -> None:
        self._begun: dict[UUID, dict[str, object]] = {}
        self._ended: deque[tuple[str, dict[str, object]]] = deque(maxlen=KEPT)
        self._hostname: str | None = None
        self._dispatcher: EventDispatcher | None = None

    def begin(self, hostname: str) -> None:
        """Start recording events, as this Celery node's."""
        self._hostname = hostname

    def begun(self, invocation: UUID, tool: str, *, attempt: int) -> None:
        """A call starts, in the job that this thread runs."""
        if self._hostname is None or len(self._begun) >= KEPT:
            return
        job, uuid = current_task.request.id if current_task else None, str(invocation)
        known = {"name": f"tool:{tool}", "kwargs": f"{{'attempt': {attempt}}}", "parent_id": job}
        self._begun[invocation] = {"uuid": uuid, "root_id": uuid, "timestamp": time.time(), **known}

    def ended(self, invocation: UUID, outcome: str, *, good: bool, seconds: float) -> None:
        """A call ended; `outcome` is `succeeded` or an error code."""
        if self._hostname is None:
            return
        begun = self._begun.pop(invocation, None)
        event = {"uuid": str(invocation)} if begun is None else {**begun, "started": begun["timestamp"]}
        event |= {"timestamp": time.time(), "runtime": seconds, "result" if good else "exception": outcome}
        self._ended.append(("task-succeeded" if good else "task-failed", event))

    def flush(self) -> None:
        """Send the buffered events. Never raises when the broker fails."""
        noted = self._take()
        if not noted:
            return
        try:
            dispatcher = self._open()
            for type_, fields in noted:
                dispatcher.send(type_, **fields)
            dispatcher.flush()
        except (KombuError, OSError) as error:
            logger.debug("task events dropped", count=len(noted), reason=type(error).__name__)
            self._drop()

    def _take(self) -> list[tuple[str, dict[str, object]]]:
        """What is buffered, beginnings before ends; it is removed. A call may end meanwhile."""
        begun = [self._begun.pop(invocation, None) for invocation in list(self._begun)]
        ended = [self._ended.popleft() for _ in range(len(self._ended))]
        return [("task-started", event) for event in begun if event is not None] + ended

    def _open(self) -> EventDispatcher:
        if self._dispatcher is None:
            connection = messages.app().connection_for_write()
            self._dispatcher = messages.app().events.Dispatcher(
                connection, hostname=self._hostname, buffer_group={"task"}, buffer_limit=2 * KEPT + 1
            )
        return self._dispatcher

    def _drop(self) -> None:
        dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            dispatcher.connection.collect()


events = TaskEvents()
