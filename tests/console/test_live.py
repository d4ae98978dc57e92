"""The stream of what happens in an account."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from typing import Any
from uuid import UUID

import pytest
import requests
from sqlalchemy import text

from common import boot, webhooks
from common.errors import RateLimited
from common.identity import accounts, session_directory
from common.identity.audit import OPERATOR
from common.kit import clock
from common.kit import db as database
from common.kit.clock import uuid7
from common.kit.paging import Position, Window
from common.webhooks import AttemptResult
from tests import factories
from tests.client import eventually
from tests.console.conftest import Browser, Trips
from tests.factories import Customer
from tests.web.conftest import Service
from web.console.live import MOST, NAMED, Followers, place, place_of, stream
from web.http import large_reads


def signed_in(served: Service, customer: Customer) -> requests.Session:
    http = requests.Session()
    sent = {"email": accounts.get(customer.user_id).email, "password": factories.PASSWORD}
    headers = {"Sec-Fetch-Site": "same-origin"}
    answer = http.post(f"{served.base}/console/sign-in", data=sent, headers=headers, allow_redirects=False, timeout=20)
    assert answer.status_code == 303
    return http


def lines_of(answer: requests.Response) -> Iterator[str]:
    return (line for line in answer.iter_lines(chunk_size=1, decode_unicode=True) if line and not line.startswith(":"))


def until_quiet(answer: requests.Response) -> Iterator[str]:
    """The lines until there was nothing to tell for some seconds."""
    lines = (line for line in answer.iter_lines(chunk_size=1, decode_unicode=True) if line)
    return takewhile(lambda line: line != ": still here", lines)


def test_a_stream_names_what_happens_and_ends_with_its_session(db: None, served: Service) -> None:
    customer, stranger = factories.customer(), factories.customer()
    http = signed_in(served, customer)
    with http.get(f"{served.base}/console/live", stream=True, timeout=30) as answer:
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        lines = lines_of(answer)
        begun = [next(lines) for _ in range(4)]
        assert (begun[:2], begun[3]) == (["retry: 3000", "event: place"], "data:")
        stranger.submit(factories.tool())
        run = customer.submit(factories.tool())
        told = [next(lines) for _ in range(5)]
        assert told[:3] == ["event: run", f"data: {run} queued", "event: budget"]
        assert told[3].startswith("id: ") and told[3] != begun[2] and told[4] == "data:"
        [session] = session_directory.listing(customer.caller, Window(5)).items
        session_directory.end(customer.user_id, session.id, actor=OPERATOR)
        customer.submit(factories.tool())
        assert "event: bye" in [*lines]
    assert http.get(f"{served.base}/console/live", allow_redirects=False, timeout=20).status_code == 303


def test_only_so_many_streams_of_an_account(db: None) -> None:
    followers, account = Followers(looks=False), uuid7()
    opened = [followers.add(account) for _ in range(MOST)]
    with pytest.raises(RateLimited):
        followers.add(account)
    followers.add(uuid7())
    followers.remove(opened[0])
    followers.remove(opened[0])
    followers.add(account)


def test_one_look_for_all_accounts_wakes_those_with_news(db: None, trips: Trips) -> None:
    followers = Followers(looks=False)
    customers = [factories.customer() for _ in range(3)]
    opened = [followers.add(each.user_id) for each in customers]
    streams: list[Any] = [stream(each, lambda: True) for each in opened]
    assert {next(each).partition(b"\n")[0] for each in streams} == {b"retry: 3000"}
    trips.clear()
    followers.look_once()
    assert len(trips.statements) == 1
    assert [each.woken.is_set() for each in opened] == [False] * 3
    run = customers[1].submit(factories.tool())
    followers.look_once()
    assert [each.woken.is_set() for each in opened] == [False, True, False]
    assert next(streams[1]) == f"event: run\ndata: {run} queued\n\n".encode()


def test_a_stream_goes_on_where_an_earlier_one_ended(db: None, served: Service) -> None:
    customer, tool = factories.customer(), factories.tool()
    http = signed_in(served, customer)
    customer.submit(tool)
    with http.get(f"{served.base}/console/live", stream=True, timeout=30) as answer:
        place = [line for _, line in zip(range(4), lines_of(answer), strict=False)][2].removeprefix("id: ")
    missed = [customer.submit(tool) for _ in range(2)]
    for asked in ({"headers": {"Last-Event-ID": place}}, {"params": {"after": place}}):
        with http.get(f"{served.base}/console/live", stream=True, timeout=30, **asked) as answer:  # type: ignore[arg-type]
            told = [line for _, line in zip(range(8), until_quiet(answer), strict=False)]
            assert told[2] == f"id: {place}"
            assert told[4:] == [line for run in missed for line in ("event: run", f"data: {run} queued")]


@pytest.mark.parametrize(
    "named", ["x", "1.2", f"1.2.{UUID(int=1)}.", f"9999999999.1.{UUID(int=1)}", f"1.-2.{UUID(int=1)}"]
)
def test_a_place_that_is_none_is_now(named: str) -> None:
    assert place(named) is None
    assert place(place_of((1, 2, UUID(int=1)))) == (1, 2, UUID(int=1))


def test_deliveries_that_went_on_are_named_and_looked_at_only_while_there_are_some(db: None, trips: Trips) -> None:
    followers = Followers(looks=False)
    customer, idle = factories.customer(), factories.customer()
    webhooks.create(customer.user_id, boot.outbound(), url="http://127.0.0.1:9/hook", events=["invocation.queued"])
    opened = [followers.add(each.user_id) for each in (customer, idle)]
    streams: list[Any] = [stream(each, lambda: True) for each in opened]
    assert [next(each)[:6] for each in streams] == [b"retry:"] * 2
    for each in (customer, idle):
        each.submit(factories.tool())
    followers.look_once()
    assert [next(streams[0]).partition(b"\n")[0] for _ in range(3)] == [
        b"event: run",
        b"event: budget",
        b"event: deliveries",
    ]
    assert [next(streams[1]).partition(b"\n")[0] for _ in range(2)] == [b"event: run", b"event: budget"]
    followers.look_once()
    assert [each.woken.is_set() for each in opened] == [False, False]
    claimed = webhooks.claim_next()
    assert claimed is not None
    webhooks.delivered(claimed, AttemptResult(clock.now(), 3, 200))
    followers.look_once()
    assert next(streams[0]) == b"event: deliveries\ndata:\n\n"
    trips.clear()
    followers.look_once()
    assert [each.woken.is_set() for each in opened] == [False, False]
    assert len(trips.statements) == 1


def test_nobody_without_a_session_follows(stranger: Browser) -> None:
    assert stranger.ask("/live").status_code == 303


def emitted(count: int, customer: Customer) -> None:
    """So many events of an account, none of them of a run."""
    statement = "insert into events (id, user_id, type, data) select uuid7(), :u, 'subscription.renewed', '{}' from "
    database.rowcount(text(f"{statement} generate_series(1, :n)"), {"u": customer.user_id, "n": count})


@pytest.mark.parametrize("after", [(0, 0, UUID(int=0)), None], ids=["from the beginning", "from now"])
def test_more_than_can_be_named_is_one_word_and_the_stream_goes_on_from_now(
    db: None, trips: Trips, after: Position | None
) -> None:
    followers, customer = Followers(looks=False), factories.customer()
    follower = followers.add(customer.user_id, after)
    told: Any = stream(follower, lambda: True)
    assert next(told).startswith(b"retry: 3000")
    emitted(5 * NAMED.limit, customer)
    followers.look_once()
    trips.clear()
    assert next(told) == f"event: reload\nid: {place_of(webhooks.feed_end(customer.user_id))}\ndata:\n\n".encode()
    assert len(trips.statements) <= 3  # a page, the end, and the end again by this test
    followers.look_once()
    assert not follower.woken.is_set()
    run = customer.submit(factories.tool())
    followers.look_once()
    assert next(told) == f"event: run\ndata: {run} queued\n\n".encode()


def test_as_many_as_can_be_named_are(db: None) -> None:
    followers, customer = Followers(looks=False), factories.customer()
    told: Any = stream(followers.add(customer.user_id), lambda: True)
    next(told)
    emitted(NAMED.limit, customer)
    followers.look_once()
    assert next(told).startswith(b"event: budget\nid: ")


def test_a_page_of_the_feed_is_a_large_read(db: None) -> None:
    followers, customer = Followers(looks=False), factories.customer()
    told: Any = stream(followers.add(customer.user_id), lambda: True)
    next(told)
    emitted(1, customer)
    followers.look_once()
    for _ in range(large_reads.READS_AT_ONCE):
        large_reads.acquire(customer.user_id)
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(next, told)
        known = large_reads._pacer._accounts[customer.user_id]
        eventually("it waits for a permit", 30, lambda: known.awaiting == 1)
        for _ in range(large_reads.READS_AT_ONCE):
            large_reads.release(customer.user_id)
        assert page.result(30).startswith(b"event: budget")
    assert known.free == large_reads.READS_AT_ONCE
