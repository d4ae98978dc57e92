"""Who keeps the checker busy is checked apart, and delays nobody else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from common.kit import checker, host_turns
from tests.admin.test_heavy_schemas import HEAVY
from tests.client import eventually
from tests.timing import Stepped, using

SECONDS = checker.FIRST_SECONDS
ALICE, MALLORY = uuid4(), uuid4()


@pytest.fixture(autouse=True)
def time(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stepped]:
    """The children are those of this test alone; nothing is forgotten until it says so."""
    monkeypatch.setattr(checker, "first", checker.First())
    monkeypatch.setattr(checker, "second", checker.Second())
    time = Stepped()
    with using(time):
        yield time
    checker.first._stop()
    checker.second._stop()


def check(account: UUID | None, schema: dict[str, object], value: object = "x") -> int:
    return len(checker.check(json.dumps(schema), schema, json.dumps(value).encode(), most=3, account=account))


def heavy(account: UUID | None) -> None:
    with pytest.raises(checker.TooLong):
        checker.check("heavy", HEAVY["anyOf"], b'"x"', most=1, seconds=SECONDS, account=account)


def known(child: checker.Checker) -> set[str]:
    """The schemas that it has checked by."""
    return set() if child.started is None else child.started._known


def test_what_is_quick_needs_one_child() -> None:
    assert (check(ALICE, {"type": "string"}), check(ALICE, {"type": "integer"})) == (0, 1)
    assert checker.second.started is None
    assert checker.first.used.of(ALICE) < SECONDS


def test_who_takes_long_is_checked_apart_from_then_on() -> None:
    heavy(MALLORY)
    assert checker.first.used.of(MALLORY) == pytest.approx(SECONDS)
    assert check(MALLORY, {"type": "integer"}) == 1
    assert check(ALICE, {"type": "string"}) == 0
    assert (known(checker.first), known(checker.second)) == ({'{"type": "string"}'}, {'{"type": "integer"}'})


def test_and_waits_for_its_own_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    checker.first.used.add(MALLORY, SECONDS)
    monkeypatch.setattr(checker, "TURN_SECONDS", 0.01)
    with checker.second.turns.turn(MALLORY, 0):
        with pytest.raises(checker.CheckerBusy):
            check(MALLORY, {})
        assert check(ALICE, {}) == 0


def test_and_pauses_for_nine_times_as_long(monkeypatch: pytest.MonkeyPatch, time: Stepped) -> None:
    """The kernel gives even a child that is last more than others would like."""
    monkeypatch.setattr(checker, "PAUSES_BEFORE", 0.0)
    monkeypatch.setattr(checker, "TURN_SECONDS", 0.5)
    monkeypatch.setattr(checker, "second", checker.Second())
    checker.first.used.add(MALLORY, 10 * SECONDS)
    heavy(MALLORY)
    with pytest.raises(checker.CheckerBusy):
        check(MALLORY, {})
    assert check(ALICE, {}) == 0
    time.now += 9 * SECONDS
    assert check(MALLORY, {}) == 0


def test_what_waited_behind_its_own_long_check_is_checked_apart_too() -> None:
    with ThreadPoolExecutor(1) as pool:
        with checker.first.turns.turn(MALLORY, 0):
            behind = pool.submit(check, MALLORY, {"type": "integer"})
            assert eventually("it waits", 20, lambda: bool(checker.first.turns._waiting))
            checker.first.used.add(MALLORY, SECONDS)
        assert behind.result(20) == 1
    assert (known(checker.first), known(checker.second)) == (set(), {'{"type": "integer"}'})


def test_its_child_gets_what_nobody_else_wants() -> None:
    checker.first.used.add(MALLORY, SECONDS)
    check(ALICE, {})
    check(MALLORY, {})
    children = [each.started.child.pid for each in (checker.first, checker.second) if each.started]
    assert [os.sched_getscheduler(each) for each in children] == [os.SCHED_OTHER, os.SCHED_IDLE]


def test_those_of_all_processes_of_a_host_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    checker.first.used.add(MALLORY, SECONDS)
    with ThreadPoolExecutor(1) as pool:
        with host_turns.turn(checker.__file__, 0) as is_mine:
            assert is_mine
            waiting = pool.submit(check, MALLORY, {"type": "integer"})
            assert check(ALICE, {"type": "integer"}) == 1
            with pytest.raises(TimeoutError):
                waiting.result(0.5)
        assert waiting.result(20) == 1
    monkeypatch.setattr(checker, "TURN_SECONDS", 0.05)
    with host_turns.turn(checker.__file__, 10), pytest.raises(checker.CheckerBusy):
        check(MALLORY, {"type": "integer"})


def test_the_operators_checks_are_not_put_apart() -> None:
    """And a child that had to be stopped starts again at once."""
    heavy(None)
    assert checker.first.started is not None
    assert checker.first.started.child.is_alive()
    assert check(None, {"type": "integer"}) == 1
    assert checker.second.started is None
