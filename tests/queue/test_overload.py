"""PostgreSQL has more to do than it can: submits wait in a short line, what only reads and what ends goes first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import pytest
from sqlalchemy import text

from common import invocations
from common.errors import DependencyUnavailable
from common.invocations import overload
from common.kit import db as db_kit
from common.kit import memory, redis
from common.kit.admission import Admission, LineTooLong
from tests import factories
from tests.budgets import world
from tests.client import eventually
from tests.factories import Customer
from tests.plain import plain
from tests.timing import Stepped, using

_WAITING = text(
    "select count(*) as n from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
)


class Counted(Admission):
    """Counts those who come to the line, and those who come back to it. `full`: all that are asked are refused."""

    came = away = 0
    full = False

    def announce_again(self, piece: object) -> None:
        self.away += 1
        super().announce_again(piece)

    def _refuse_if_too_long(self) -> None:
        if self.full:
            raise LineTooLong(1)
        super()._refuse_if_too_long()

    @contextmanager
    def permit(self, announced: object = None) -> Iterator[None]:
        self.came += 1
        with super().permit(announced):
            yield


@contextmanager
def stuck(customer: Customer) -> Iterator[None]:
    """No submit of this account can be stored inside the block."""
    with db_kit.transaction() as session:
        session.execute(text("select 1 from periods where user_id = :id for update"), {"id": customer.user_id})
        yield


@contextmanager
def submitting(customer: Customer, many: int) -> Iterator[list[Future[UUID]]]:
    """So many submits at once, of which those that may have begun to be stored when the block begins."""
    tool = factories.tool()
    customer.submit(tool)
    with ThreadPoolExecutor(many) as threads:
        with stuck(customer):
            made = [threads.submit(customer.submit, tool) for _ in range(many)]
            eventually("they wait", 30, lambda: plain(_WAITING, {})[0].n >= overload.AT_ONCE)
            yield made
        for each in made:
            each.exception(30)


def test_submits_leave_connections_to_what_reads(db: None) -> None:
    customer = factories.customer()
    with submitting(customer, many=30) as made:
        [first] = world.open_rows()
        assert invocations.get(first, customer.user_id).status == "queued"
        assert plain(_WAITING, {})[0].n == overload.AT_ONCE
        assert not any(each.done() for each in made)
    assert len({each.result() for each in made} | {first}) == len(world.open_rows()) == 31


def test_who_would_wait_too_long_is_told_before_anything_is_begun(db: None) -> None:
    customer = factories.customer()
    clock = Stepped()
    clock.now = time.monotonic()  # what this process knows is not from the future
    with using(clock), submitting(customer, many=overload.AT_ONCE) as made:
        clock.now += 20
        for key in (None, "k"):
            with pytest.raises(DependencyUnavailable) as refused:
                customer.submit(factories.tool(), idempotency_key=key)
            assert refused.value.retry_after == 2, "of twelve that take 20 s, one ends every 1.7 s"
    assert len({each.result() for each in made}) + 1 == len(world.open_rows()) == 1 + overload.AT_ONCE


def test_the_same_while_redis_is_what_is_slow(line: Counted) -> None:
    customer, tool = factories.customer(), factories.tool()
    first, clock = customer.submit(tool), Stepped()
    clock.now = time.monotonic()
    with using(clock), ThreadPoolExecutor(30) as threads:
        redis.client().client_pause(60_000, all=False)
        try:
            made = [threads.submit(customer.submit, tool) for _ in range(30)]
            eventually("they wait", 30, lambda: line._in_line == 30 - overload.AT_ONCE)
            assert invocations.get(first, customer.user_id).status == "queued"
            clock.now += 20
            with pytest.raises(DependencyUnavailable, match="overloaded"):
                customer.submit(tool)
        finally:
            redis.client().client_unpause()
    assert len({each.result() for each in made} | {first}) == len(world.open_rows()) == 31


@pytest.fixture
def line(db: None) -> Iterator[Counted]:
    counted = memory.current().parts[overload._line] = Counted(overload.AT_ONCE, overload.PATIENCE)
    yield counted
    memory.forget()


def test_a_submit_stands_in_line_once_and_once_more_to_look_for_its_key(line: Counted) -> None:
    """Who has stood in it has waited: a second time is a second wait, and may end in a refusal after the first."""
    customer, tool, came = factories.customer(), factories.tool(), []
    for key in (None, "k", "k"):  # the third one finds what the second has made
        customer.submit(tool, idempotency_key=key)
        came.append(line.came)
    assert came == [1, 3, 4]
    assert len(world.open_rows()) == 2


def test_who_is_announced_is_in_line_until_it_has_its_permit_or_needs_none(line: Counted) -> None:
    customer, tool, came = factories.customer(), factories.tool(), []
    for key in (None, "k", "k"):  # the third one finds what the second has made
        end = overload.announce()
        assert len(line._announced) == 1
        customer.submit(tool, idempotency_key=key)
        came.append((line.came, len(line._announced)))
        end()
    assert came == [(1, 0), (3, 0), (4, 0)], "before the end, at which clients may wait for long"
    for submits in (False, True):
        end = overload.announce()
        with overload.aside():
            assert not line._announced
        assert len(line._announced) == 1
        if submits:
            customer.submit(tool)
        end()
        with overload.aside():
            assert not line._announced


def test_only_the_first_permit_was_announced(line: Counted) -> None:
    customer, tool = factories.customer(), factories.tool()
    end = overload.announce()
    line.full = True
    customer.submit(tool, idempotency_key="k")  # and before it, that for the look for an earlier one
    with pytest.raises(DependencyUnavailable, match="overloaded"):
        customer.submit(tool)
    end()


def test_nobody_waits_for_a_check_of_an_input(line: Counted) -> None:
    """Which may take long where another process has to do it."""
    customer, tool = factories.customer(), factories.tool(input_schema={"allOf": [{"type": "object"}] * 20})
    for size, away in ((1, 0), (100_000, 1)):
        line.away = 0
        end = overload.announce()
        customer.submit(tool, input={"text": "x" * size})
        assert line.away == away
        end()
