"""A reader of the feed sees each event exactly once, whatever the commit order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from common import webhooks
from common.kit import db
from common.kit.paging import Page, Window
from tests.webhooks.conftest import happen, make_user, settled, sql


class Reader:
    """Pulls with its cursor, and remembers what it saw."""

    def __init__(self, user_id: UUID, limit: int = 3) -> None:
        self.user_id, self.limit = user_id, limit
        self.cursor: Any = None
        self.seen: list[UUID] = []

    def page(self) -> Page[webhooks.OutboxEvent]:
        page = webhooks.feed(self.user_id, Window(self.limit, self.cursor))
        self.cursor = page.next
        self.seen += [event.id for event in page.items]
        return page

    def pull(self) -> list[UUID]:
        """Everything that is new, once nobody else's transaction is in its way."""
        settled()
        return self.peek()

    def peek(self) -> list[UUID]:
        """Everything that is new and can be seen by now."""
        before = len(self.seen)
        while self.page().has_more:
            pass
        return self.seen[before:]


@pytest.fixture
def reader(user_id: UUID) -> Reader:
    return Reader(user_id)


def test_oldest_first_in_pages_and_only_ones_own(user_id: UUID, reader: Reader) -> None:
    happen(make_user())
    events = [happen(user_id, n=n) for n in range(7)]
    assert reader.pull() == events
    assert reader.pull() == []
    more = [happen(user_id)]
    assert reader.pull() == more, "the cursor is good for ever"


def test_an_empty_feed_can_be_asked_again(user_id: UUID, reader: Reader) -> None:
    assert reader.pull() == []
    assert reader.pull() == []
    event = happen(user_id)
    assert reader.pull() == [event]


def test_what_commits_late_is_not_skipped(user_id: UUID, reader: Reader) -> None:
    with db.transaction() as slow:
        late = webhooks.record(slow, user_id, "budget.threshold", {"late": True})
        quick = happen(user_id)
        assert reader.peek() == [], "not before it is known what comes first"
    assert reader.pull() == [late, quick]


def test_a_transaction_that_had_its_number_early_and_wrote_late(user_id: UUID, reader: Reader) -> None:
    with db.transaction() as slow:
        webhooks.record(slow, make_user(), "budget.threshold", {})
        quick = happen(user_id)
        assert reader.peek() == []
        late = webhooks.record(slow, user_id, "budget.threshold", {})
    assert sorted(reader.pull()) == sorted([quick, late])
    assert reader.pull() == []


def test_thirty_days(user_id: UUID, reader: Reader) -> None:
    old, young = happen(user_id), happen(user_id)
    sql("update events set created_at = now() - interval '30 days 1 minute' where id = :id", id=old)
    sql("update events set created_at = now() - interval '29 days 23 hours' where id = :id", id=young)
    assert reader.pull() == [young]


def test_readers_beside_writers_see_each_event_once(user_id: UUID) -> None:
    stop, written = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            with db.transaction() as session:
                mine = [webhooks.record(session, user_id, "budget.threshold", {}) for _ in range(3)]
            written.extend(mine)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    readers = [Reader(user_id, limit) for limit in (1, 7, 100)]
    while len(written) < 300:
        for each in readers:
            each.page()
    stop.set()
    for writer in writers:
        writer.join()
    for each in readers:
        each.pull()
        assert len(each.seen) == len(set(each.seen))
        assert set(each.seen) == set(written)


@pytest.fixture
def another_cluster(db: None) -> Iterator[None]:
    """Makes the rows look as after a restore into a cluster whose transaction ids start far lower."""
    yield
    sql("select setval('feed_era', 1, false)")


def test_a_dump_restored_into_a_younger_cluster(user_id: UUID, reader: Reader, another_cluster: None) -> None:
    old = [happen(user_id, n=n) for n in range(3)]
    assert reader.pull() == old
    unread = happen(user_id)
    sql("update events set xid = cast(cast(xid as text)::bigint + 1000000000 || '' as xid8)")
    reader.cursor = (reader.cursor[0], reader.cursor[1] + 1_000_000_000, reader.cursor[2])
    new = happen(user_id)
    assert reader.peek() == [], "without a repair the feed stands still"

    assert webhooks.repair_feed() is True
    assert reader.pull() == [unread, new]
    newer = happen(user_id)
    assert reader.pull() == [newer]
    assert webhooks.repair_feed() is False
    assert Reader(user_id, 100).pull() == [*old, unread, new, newer]


def test_a_healthy_feed_needs_no_repair(user_id: UUID) -> None:
    assert webhooks.repair_feed() is False
    happen(user_id)
    assert webhooks.repair_feed() is False


def test_events_and_deliveries_are_forgotten_after_thirty_days(user_id: UUID) -> None:
    old, young = happen(user_id), happen(user_id)
    aged = UUID(int=old.int - (31 * 86_400_000 << 80))
    sql("update events set id = :aged, created_at = now() - interval '31 days' where id = :id", aged=aged, id=old)
    sql(
        """insert into deliveries (id, event_id, user_id, url, status, finished_at)
           values (:id, :event, :user, 'x', 'failed', now())""",
        id=aged,
        event=aged,
        user=user_id,
    )
    assert webhooks.prune() == 2
    assert webhooks.prune() == 0
    assert [row.id for row in sql("select id from events")] == [young]
