"""Accounts take turns, whatever each of them has queued or may have under way at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from common import invocations
from common.invocations import ClaimOptions, Task
from common.tools import ListedTool
from tests import factories
from tests.factories import GOOD, Customer

#: Tasks that the worker has in hand at once: its threads.
THREADS = 4


class Hands:
    """A worker with a few threads that go round: each ends its task and takes the next."""

    def __init__(self) -> None:
        self.me: ClaimOptions = factories.worker()
        self.tasks: list[Task] = [factories.taken(self.me) for _ in range(THREADS)]
        self.turns = 0

    def turn(self) -> Task:
        """One thread ends its task and takes the next; which is that?"""
        at = self.turns % THREADS
        following = invocations.complete(self.tasks[at], GOOD, self.me)
        assert following is not None
        self.tasks[at], self.turns = following, self.turns + 1
        return following


def flood(customer: Customer, tool: ListedTool, count: int) -> None:
    for _ in range(count):
        customer.submit(tool)


@pytest.fixture
def tool(db: None) -> ListedTool:
    return factories.tool()


@pytest.mark.parametrize("at_once", [10, 60])
def test_who_comes_last_is_served_among_the_first(tool: ListedTool, at_once: int) -> None:
    """Beside a flood that has been running for a while, and however wide it is."""
    greedy, other = factories.customer(at_once=at_once), factories.customer(at_once=at_once)
    flood(greedy, tool, 5 * at_once)
    hands = Hands()
    for _ in range(2 * at_once):
        hands.turn()
    behind = []
    for _ in range(10):
        made = other.submit(tool)
        behind.append(0)
        while hands.turn().id != made:
            behind[-1] += 1
    assert max(behind) <= 5, behind


def test_a_wide_account_has_no_more_turns_than_a_narrow_one(tool: ListedTool) -> None:
    wide, narrow = factories.customer(at_once=50), factories.customer(at_once=2)
    flood(wide, tool, 150)
    flood(narrow, tool, 100)
    hands = Hands()
    for _ in range(60):
        hands.turn()
    turns = Counter(hands.turn().user_id for _ in range(60))
    assert abs(turns[wide.user_id] - turns[narrow.user_id]) <= 12, turns


def test_a_flood_is_bounded_by_its_plan(tool: ListedTool) -> None:
    """The rest of it waits without a slot: a worker that wants more than that gets somebody else's."""
    greedy, other = factories.customer(at_once=3), factories.customer()
    flood(greedy, tool, 8)
    me = factories.worker()
    taken = [factories.taken(me) for _ in range(3)]
    assert invocations.claim(me) is None
    made = other.submit(tool)
    assert factories.taken(me).id == made
    successor = invocations.complete(taken[0], GOOD, replace(me, take_next=True))
    assert successor is not None
    assert successor.user_id == greedy.user_id
    assert invocations.claim(me) is None
