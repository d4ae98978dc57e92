"""From which grants tokens are spent: beside a simulation that spends them one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from common.subscriptions.spending import Lot, Spent, moments, rests

START = datetime(2027, 1, 1, tzinfo=UTC)
DAYS = 10


def day(n: int) -> datetime:
    return START + timedelta(days=n)


@st.composite
def lots(draw: st.DrawFn) -> list[Lot]:
    found = []
    for n in range(draw(st.integers(1, 5))):
        since = draw(st.integers(0, DAYS - 1))
        until = draw(st.none() | st.integers(since, DAYS + 3))
        found.append(Lot(UUID(int=n), draw(st.integers(0, 8)), day(since), None if until is None else day(until)))
    return found


spendings = st.lists(st.tuples(st.integers(0, DAYS - 1), st.integers(0, 6)), max_size=8)


def one_by_one(found: list[Lot], spent: list[tuple[int, int]]) -> dict[UUID, int]:
    """Each token, from a balance of single tokens: the one that expires first."""
    unspent = [lot for lot in found for _ in range(lot.tokens)]
    for at, tokens in sorted(spent):
        for _ in range(tokens):
            valid = [lot for lot in unspent if lot.since <= day(at) and (lot.until is None or day(at) < lot.until)]
            if valid:
                unspent.remove(min(valid, key=lambda lot: (lot.until or day(DAYS), lot.since, lot.id)))
    return {lot.id: sum(each.id == lot.id for each in unspent) for lot in found}


def summed(found: list[Lot], spent: list[tuple[int, int]]) -> list[Spent]:
    """As the platform asks for it: one sum for each stretch between two moments."""
    marks = moments(found)
    sums = dict.fromkeys(marks, 0)
    for at, tokens in spent:
        sums[max((mark for mark in marks if mark <= day(at)), default=marks[0])] += tokens
    return [Spent(at, tokens) for at, tokens in sums.items()]


@settings(max_examples=300, deadline=None)
@given(found=lots(), spent=spendings)
def test_sums_say_what_single_tokens_would(found: list[Lot], spent: list[tuple[int, int]]) -> None:
    first = min(lot.since for lot in found)
    spent = [(at, tokens) for at, tokens in spent if day(at) >= first]
    assert rests(found, summed(found, spent), day(DAYS)) == one_by_one(found, spent)


@settings(max_examples=300, deadline=None)
@given(found=lots(), spent=spendings, cheaper=st.lists(st.integers(0, 6), min_size=8, max_size=8))
def test_what_ends_cheaper_never_leaves_less_of_any(
    found: list[Lot], spent: list[tuple[int, int]], cheaper: list[int]
) -> None:
    less = [(at, max(0, tokens - by)) for (at, tokens), by in zip(spent, cheaper, strict=False)]
    before, after = (rests(found, summed(found, each), day(DAYS)) for each in (spent, less))
    assert all(before[id_] <= after[id_] for id_ in before)


def test_what_expires_first_is_spent_first() -> None:
    plan, early, late = (
        Lot(UUID(int=n), 10, day(0), until) for n, until in ((1, None), (2, day(5)), (3, day(DAYS + 20)))
    )
    found = [late, plan, early]
    assert rests(found, [Spent(day(1), 7)], day(DAYS)) == {plan.id: 10, early.id: 3, late.id: 10}
    assert rests(found, [Spent(day(1), 12)], day(DAYS)) == {plan.id: 8, early.id: 0, late.id: 10}
    assert rests(found, [Spent(day(5), 12)], day(DAYS)) == {plan.id: 0, early.id: 10, late.id: 8}
    assert rests(found, [Spent(day(5), 25)], day(DAYS)) == {plan.id: 0, early.id: 10, late.id: 0}
