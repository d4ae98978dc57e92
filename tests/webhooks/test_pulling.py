"""`GET /events`: filters, an empty feed's cursor, and long-polls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from flask import Flask

from common import subscriptions, webhooks
from common.identity import audit, keys
from common.kit import db
from common.kit.paging import Window
from common.settings import Settings
from common.subscriptions import plans
from common.webhooks import pulling
from tests import factories
from tests.client import eventually
from tests.webhooks.conftest import happen, make_user, settled, sql
from web.app import create_app
from web.http import feed_waiting

Read = Callable[..., Any]


@pytest.fixture(scope="module")
def app(settings: Settings) -> Flask:
    return create_app(settings)


def reader(app: Flask, user_id: UUID) -> Read:
    """Reads the feed of an account: `read(200, "type=…")` returns the whole answer."""
    _, text = keys.create(user_id, "reader", actor=audit.OPERATOR)

    def read(status: int = 200, query: str = "") -> Any:
        answer = app.test_client().get(f"/api/v1/events?{query}", headers={"X-API-Key": text})
        assert answer.status_code == status, answer.text
        return answer.get_json()

    return read


@pytest.fixture
def read(app: Flask, user_id: UUID) -> Read:
    return reader(app, user_id)


def probed(user_id: UUID) -> UUID:
    """An event of another type."""
    with db.transaction() as session:
        return webhooks.record(session, user_id, "webhook.test", {})


def ids(page: Any) -> list[UUID]:
    return [UUID(event["id"]) for event in page["data"]]


# -- filters -----------------------------------------------------------------------------------------------------


def test_an_empty_feed_has_a_cursor(read: Read, user_id: UUID) -> None:
    empty = read()
    assert (empty["data"], empty["meta"]["has_more"]) == ([], False)
    cursor = empty["meta"]["next_cursor"]
    assert read(200, f"cursor={cursor}")["meta"]["next_cursor"] == cursor
    event = happen(user_id)
    settled()
    assert ids(read(200, f"cursor={cursor}")) == [event]


def test_types_and_a_time(read: Read, user_id: UUID) -> None:
    events = [happen(user_id), probed(user_id), happen(user_id), probed(user_id)]
    sql("update events set created_at = created_at - interval '1 hour' where id = any(:ids)", ids=events[:2])
    settled()
    half_an_hour_ago = f"{datetime.now(UTC) - timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ}"
    assert ids(read(200, "type=webhook.test")) == [events[1], events[3]]
    assert ids(read(200, "type=webhook.test&type=budget.threshold&limit=3")) == events[:3]
    assert ids(read(200, f"from={half_an_hour_ago}")) == events[2:]
    assert ids(read(200, f"from={half_an_hour_ago}&type=webhook.test")) == events[3:]
    assert ids(read(200, "type=invocation.failed")) == []
    at = sql("select created_at from events where id = :id", id=events[3])[0].created_at
    assert ids(read(200, f"from={at:%Y-%m-%dT%H:%M:%S.%fZ}")) == events[3:], "inclusive"
    assert ids(read(200, "from=0001-01-01T00:00:00Z")) == events
    assert ids(read(200, "from=9999-12-31T23:59:59Z")) == []
    for wrong in ("type=nonsense", "type=", "from=yesterday", "from=", "wait=0", "wait=61", "wait=x", "wait=1&wait=2"):
        assert read(422, wrong)["code"] == "validation_failed", wrong


def test_a_filtered_reader_does_not_look_twice_at_what_it_left_out(read: Read, user_id: UUID) -> None:
    for _ in range(3):
        happen(user_id)
    settled()
    page = read(200, "type=webhook.test")
    assert page["data"] == []
    cursor = page["meta"]["next_cursor"]
    assert ids(read(200, f"cursor={cursor}")) == [], "the cursor is after what was looked at"
    event = probed(user_id)
    settled()
    assert ids(read(200, f"type=webhook.test&cursor={cursor}")) == [event]


def test_a_page_ends_after_so_many_that_do_not_match(
    read: Read, user_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "LOOKED_THROUGH", 5)
    for _ in range(12):
        happen(user_id)
    event = probed(user_id)
    settled()
    pages: list[Any] = []
    query = "type=webhook.test&limit=2"
    while not pages or pages[-1]["meta"]["has_more"]:
        pages.append(read(200, query))
        query = f"type=webhook.test&limit=2&cursor={pages[-1]['meta']['next_cursor']}"
    assert [ids(page) for page in pages] == [[], [], [event]]
    assert ids(read(200, "type=webhook.test&limit=2&wait=1")) == [event], "a long-poll goes on by itself"


def test_filtered_readers_beside_writers_see_each_event_once_and_in_order(user_id: UUID) -> None:
    """Transactions overlap, so that events are committed in another order than they are numbered."""
    stop, written, together = threading.Event(), [], threading.Barrier(4)

    def write(n: int) -> None:
        while not stop.is_set():
            kinds = ["budget.threshold", "webhook.test"] if n % 2 else ["webhook.test"]
            with db.transaction() as session:
                mine = [(kind, webhooks.record(session, user_id, kind, {"n": n})) for kind in kinds]
                if n == 0:
                    time.sleep(0.002)  # others commit meanwhile
            written.extend(mine)

    def started(n: int) -> None:
        together.wait(30)
        write(n)

    writers = [threading.Thread(target=started, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    seen: dict[int, list[UUID]] = {limit: [] for limit in (1, 3, 100)}
    cursors: dict[int, Any] = dict.fromkeys(seen)

    def pull(limit: int) -> bool:
        page = webhooks.feed(user_id, Window(limit, cursors[limit]), types=["webhook.test"])
        cursors[limit] = page.next
        seen[limit] += [event.id for event in page.items]
        return page.has_more

    while len(written) < 200:
        for limit in seen:
            pull(limit)
    stop.set()
    for writer in writers:
        writer.join()
    settled()
    wanted = [event for kind, event in written if kind == "webhook.test"]
    ordered = sql("select id from events where type = 'webhook.test' order by era, xid, id")
    for limit, found in seen.items():
        while pull(limit):
            pass
        assert found == [row.id for row in ordered]
        assert set(found) == set(wanted)


# -- waiting -----------------------------------------------------------------------------------------------------


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as workers:
        yield workers


def waiting(count: int) -> None:
    eventually(f"{count} wait", 30, lambda: len(feed_waiting.waiters) == count)


def test_a_long_poll_is_answered_by_an_event_that_matches(read: Read, user_id: UUID, pool: ThreadPoolExecutor) -> None:
    waits = pool.submit(read, 200, "wait=60&type=webhook.test")
    waiting(1)
    happen(user_id)
    happen(make_user())
    event = probed(user_id)
    page = waits.result(timeout=60)
    assert ids(page) == [event]
    assert ids(read(200, f"cursor={page['meta']['next_cursor']}")) == []
    assert len(feed_waiting.waiters) == 0
    assert ids(read(200, "wait=60&limit=1")) != [], "what is there is answered at once"


def test_a_long_poll_ends_with_an_empty_page(read: Read, user_id: UUID) -> None:
    page = read(200, "wait=1")
    assert (page["data"], page["meta"]["has_more"]) == ([], False)
    event = happen(user_id)
    settled()
    assert ids(read(200, f"wait=60&cursor={page['meta']['next_cursor']}")) == [event]


def test_what_commits_late_wakes_a_waiter(read: Read, user_id: UUID, pool: ThreadPoolExecutor) -> None:
    with db.transaction() as slow:
        late = webhooks.record(slow, user_id, "webhook.test", {})
        waits: Future[Any] = pool.submit(read, 200, "wait=60")
        waiting(1)
        happen(make_user())
        feed_waiting.waiters.look()
        assert not waits.done()
    assert ids(waits.result(timeout=60)) == [late]


def test_many_waiters_cost_one_statement(
    app: Flask, db: None, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking for thirty is one statement, and none of them reads its own feed; an event wakes its account alone."""
    people = [make_user() for _ in range(30)]
    polls = [pool.submit(reader(app, user_id), 200, "wait=60") for user_id in people]
    waiting(30)
    sent: list[str] = []
    asked_about: list[int] = []
    execute: Any = psycopg.RawCursor.execute

    def executing(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        if b"from events" in query:
            sent.append(threading.current_thread().name)
            asked_about.append(len(args[0][0]) if isinstance(args[0][0], list) else 1)
        return execute(self, query, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.RawCursor, "execute", executing)
        eventually("the thread has looked twice", 30, lambda: len(sent) >= 2)
        assert set(sent) == {"feed-waiting"}
        assert set(asked_about) == {30}, "one statement asks for all of them"
        event = happen(people[0])
        assert ids(polls[0].result(timeout=60)) == [event]
        assert len({name for name in sent if name != "feed-waiting"}) == 1
    for user_id in people[1:]:
        happen(user_id)
    assert not wait(polls, timeout=60).not_done
    assert [len(poll.result()["data"]) for poll in polls] == [1] * 30
    assert len(feed_waiting.waiters) == 0


def test_an_account_has_so_many_long_polls(app: Flask, db: None, pool: ThreadPoolExecutor) -> None:
    customer = factories.customer()
    plans.edit(customer.plan, {"max_streams": 2}, actor=audit.OPERATOR)
    subscriptions.forget_terms(customer.user_id)
    read = reader(app, customer.user_id)
    polls = [pool.submit(read, 200, "wait=60") for _ in range(2)]
    waiting(2)
    assert read(429, "wait=60")["code"] == "rate_limited"
    assert read(200)["data"] == []
    event = happen(customer.user_id)
    assert [ids(poll.result(timeout=60)) for poll in polls] == [[event]] * 2
    assert ids(read(200, "wait=60")) == [event]


def test_whoever_loses_access_while_waiting_is_told_nothing(
    app: Flask, user_id: UUID, pool: ThreadPoolExecutor
) -> None:
    key, text = keys.create(user_id, "revoked", actor=audit.OPERATOR)
    headers = {"X-API-Key": text}
    began = time.monotonic()
    poll = pool.submit(lambda: app.test_client().get("/api/v1/events?wait=60", headers=headers))
    waiting(1)
    keys.revoke(user_id, key.id, actor=audit.OPERATOR)
    eventually("the check of a second ago has aged", 30, lambda: not poll.done() and time.monotonic() > began + 1.2)
    happen(user_id)
    assert poll.result(timeout=60).status_code == 401
