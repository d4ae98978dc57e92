"""What Flower is told of calls: one event of a call that has begun and ended since the last, otherwise two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from celery.events.state import State, Task

from common.kit.clock import uuid7
from common.queueing import messages
from worker.task_events import TaskEvents


class Watched:
    """A node's events, and what Celery makes of those that have come over the broker."""

    def __init__(self) -> None:
        self.events, self.state = TaskEvents(), State()
        self.types: list[str] = []
        self.events.begin("node")

    def take(self, event: dict[str, Any]) -> None:
        self.types.append(event["type"])
        self.state.event(event)

    @contextmanager
    def listening(self) -> Iterator[Any]:
        with messages.app().connection_for_read() as known:
            receiver = messages.app().events.Receiver(known, handlers={"*": self.take})
            with receiver.consumer_context(wakeup=False) as (connection, _, _):
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.1)  # it subscribes when it first looks
                yield connection


@pytest.fixture
def watched(db: None) -> Watched:
    return Watched()


def test_a_call_is_told_of_with_its_end_or_before(watched: Watched) -> None:
    quick, failed, slow = uuid7(), uuid7(), uuid7()
    with watched.listening() as connection:
        watched.events.begun(slow, "deep", attempt=2)
        watched.events.begun(quick, "echo", attempt=1)
        watched.events.ended(quick, "succeeded", good=True, seconds=0.25)
        watched.events.begun(failed, "echo", attempt=1)
        watched.events.ended(failed, "tool_failed", good=False, seconds=0.5)
        watched.events.flush()
        connection.drain_events(timeout=10)
        assert watched.types == ["task-started", "task-succeeded", "task-failed"]
        assert told(watched, slow) == ("tool:deep", "{'attempt': 2}", "STARTED", None, None)
        watched.events.ended(slow, "succeeded", good=True, seconds=2.0)
        watched.events.flush()
        connection.drain_events(timeout=10)
    assert watched.types[3:] == ["task-succeeded"]
    assert told(watched, slow) == ("tool:deep", "{'attempt': 2}", "SUCCESS", "succeeded", 2.0)
    assert told(watched, quick) == ("tool:echo", "{'attempt': 1}", "SUCCESS", "succeeded", 0.25)
    assert told(watched, failed) == ("tool:echo", "{'attempt': 1}", "FAILURE", "tool_failed", 0.5)
    for each in (quick, failed, slow):
        task = task_of(watched, each)
        assert task.root_id == str(each)
        assert task.started <= task.timestamp


def task_of(watched: Watched, invocation: object) -> Task:
    return watched.state.tasks[str(invocation)]


def told(watched: Watched, invocation: object) -> tuple[object, ...]:
    task = task_of(watched, invocation)
    return task.name, task.kwargs, task.state, task.exception if task.failed else task.result, task.runtime
