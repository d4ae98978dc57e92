"""The waiting room's two threads: nothing that they meet is the last that they do, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

import pytest

from common import invocations
from tests import factories
from web.http.waiting import Waiter, WaitingRoom

States = dict[UUID, tuple[str, int]]


@pytest.fixture
def made(db: None) -> invocations.Invocation:
    customer = factories.customer()
    return invocations.get(customer.submit(factories.tool()), customer.user_id)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> WaitingRoom:
    """One without its threads: the tests do what they do."""
    monkeypatch.setattr(WaitingRoom, "_start", lambda *_: None)
    room = WaitingRoom()
    room._subscribed.set()
    return room


@pytest.fixture
def waiter(room: WaitingRoom, made: invocations.Invocation) -> Waiter:
    return room.enter(made.user_id, made.id, 1)


def test_a_message_that_is_none_does_not_deafen_the_process(room: WaitingRoom, waiter: Waiter) -> None:
    room._hear("nonsense")
    room._hear(str(waiter.invocation_id))
    assert waiter.wait(0)


def test_a_reading_that_goes_wrong_is_not_the_last(
    room: WaitingRoom, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Collection[UUID]) -> States:
        raise ValueError("unexpected")

    with monkeypatch.context() as patch:
        patch.setattr(invocations, "states", fail)
        room._look_after()
    assert not waiter.wait(0)
    room._look_after()
    assert waiter.wait(0)


def test_who_leaves_while_the_rows_are_read_leaves_nothing(
    room: WaitingRoom, waiter: Waiter, made: invocations.Invocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(_: Any) -> States:
        room.leave(waiter)
        return {made.id: ("succeeded", 1)}

    monkeypatch.setattr(invocations, "states", look)
    room._look_after()
    assert (len(room), room._seen) == (0, {})
