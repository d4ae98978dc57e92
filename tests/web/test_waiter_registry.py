"""The two threads of the waiter registry survive errors and leave nothing behind; and when a row need not be read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from common import invocations
from common.kit import redis
from common.settings import Settings
from tests import factories
from web.http.waiting import CHANNEL, Waiter, WaiterRegistry

States = dict[UUID, tuple[str, int]]


@pytest.fixture
def made(db: None) -> invocations.Invocation:
    customer = factories.customer()
    return invocations.get(customer.submit(factories.tool()), customer.user_id)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> WaiterRegistry:
    """A registry without its threads; the tests call their steps."""
    monkeypatch.setattr(WaiterRegistry, "_start", lambda *_: None)
    registry = WaiterRegistry()
    registry._subscribed.set()
    return registry


@pytest.fixture
def waiter(registry: WaiterRegistry, made: invocations.Invocation) -> Waiter:
    return registry.add(made.user_id, made.id, 1)


def test_a_client_whose_registration_fails_leaves_nothing(
    registry: WaiterRegistry, made: invocations.Invocation, settings: Settings
) -> None:
    """Its request has failed, so nobody would remove it, and its account had a place less for ever."""
    redis.dispose()
    try:
        with pytest.raises(RuntimeError, match="has not been called"):
            registry.add(made.user_id, made.id, 1)
    finally:
        redis.connect(settings.redis_url)
    assert len(registry) == 0
    registry.add(made.user_id, made.id, 1)


def test_a_malformed_message_is_dropped(registry: WaiterRegistry, waiter: Waiter) -> None:
    registry._on_message("nonsense")
    registry._on_message(str(waiter.invocation_id))
    assert waiter.wait(0)


def test_a_failed_read_is_retried(registry: WaiterRegistry, waiter: Waiter, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Collection[UUID]) -> States:
        raise ValueError("unexpected")

    with monkeypatch.context() as patch:
        patch.setattr(invocations, "states", fail)
        registry._reread_or_log()
    assert not waiter.wait(0)
    registry._reread_or_log()
    assert waiter.wait(0)


def test_a_waiter_removed_during_a_read_leaves_nothing(
    registry: WaiterRegistry, waiter: Waiter, made: invocations.Invocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(_: Any) -> States:
        registry.remove(waiter)
        return {made.id: ("succeeded", 1)}

    monkeypatch.setattr(invocations, "states", look)
    registry._reread_or_log()
    assert (len(registry), registry._seen) == (0, {})


@pytest.mark.parametrize("sees", ["its hold", "its end", "a wiped gate", "another subscription"])
def test_an_invocation_whose_hold_is_there_is_told_of_when_it_ends(
    registry: WaiterRegistry, made: invocations.Invocation, sees: str
) -> None:
    """And only then: else its end may have been told before anybody listened."""
    task = factories.taken(worker := replace(factories.worker(), take_next=False))
    if sees == "its end":
        invocations.complete(task, factories.GOOD, worker)
    if sees == "a wiped gate":
        redis.client().flushdb()
    if sees == "another subscription":
        registry._subscribed.clear()
    waiter = registry.add(made.user_id, made.id, 1, task.period_id)
    assert waiter.is_open == (sees == "its hold")
    if waiter.is_open:
        heard = []
        with redis.subscriber() as client, client.pubsub() as pubsub:
            pubsub.subscribe(CHANNEL)
            invocations.complete(task, factories.GOOD, worker)
            heard = [m["data"] for _ in range(3) if (m := pubsub.get_message(timeout=1)) and m["type"] == "message"]
        assert heard == [str(made.id)]
