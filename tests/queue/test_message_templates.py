"""The messages that are pushed straight into Redis are, member for member, what Celery would have sent."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from common.kit import redis
from common.queueing import messages
from common.settings import Settings

pytestmark = pytest.mark.usefixtures("db")
#: What differs from one message to the next.
FRESH = {"id", "root_id", "correlation_id", "delivery_tag", "reply_to"}


@pytest.fixture
def patient(settings: Settings) -> Any:
    """However many wait, notify."""
    messages.configure(settings.broker_url, 1_000)
    yield
    messages.configure(settings.broker_url, settings.queue_messages_max)


def popped(queue: str) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(redis.client().lpop(queue))  # type: ignore[arg-type]
    message["body"] = json.loads(base64.b64decode(message["body"]))
    return message


def shape(message: dict[str, Any]) -> dict[str, Any]:
    return {
        name: shape(value) if isinstance(value, dict) else "fresh" if name in FRESH else value
        for name, value in message.items()
    }


@pytest.mark.parametrize("subject", [None, uuid4()])
@pytest.mark.parametrize("task", [messages.RUN_INVOCATION, messages.DELIVER])
@pytest.mark.usefixtures("patient")
def test_a_pushed_message_is_what_celery_sends(task: str, subject: UUID | None) -> None:
    queue = messages.QUEUES[task]
    args = [str(subject)] if subject else []
    once = {"retry": False, "ignore_result": True, "delivery_mode": 1}
    with messages.app().connection_for_write() as its:  # those of the pool may be broken since earlier tests
        messages.app().send_task(task, args=args, queue=queue, connection=its, **once)
    theirs = popped(queue)
    assert messages.notify(task, subject)
    ours = popped(queue)
    assert shape(ours) == shape(theirs)


@pytest.mark.usefixtures("patient")
def test_every_message_has_an_id_of_its_own() -> None:
    for _ in range(3):
        messages.notify(messages.RUN_INVOCATION)
    sent = [popped("invocations") for _ in range(3)]
    ids = {message["headers"]["id"] for message in sent}
    assert len(ids) == 3
    assert all(message["properties"]["delivery_tag"] in ids for message in sent)


def test_enough_messages_are_enough(settings: Settings) -> None:
    messages.configure(settings.broker_url, 2)
    try:
        assert [messages.notify(messages.RUN_INVOCATION) for _ in range(4)] == [True, True, False, False]
        assert messages.notify_times(messages.RUN_INVOCATION, 9) == 0
        popped("invocations")
        assert messages.notify_times(messages.RUN_INVOCATION, 9) == 1
    finally:
        messages.configure(settings.broker_url, settings.queue_messages_max)
