"""The stream of what happens in an account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from common.errors import RateLimited
from common.identity import accounts, session_directory
from common.identity.audit import OPERATOR
from common.kit.clock import uuid7
from common.kit.paging import Window
from tests import factories
from tests.console.conftest import Browser, Trips
from tests.factories import Customer
from tests.web.conftest import Service
from web.console.live import MOST, Followers, stream


def signed_in(served: Service, customer: Customer) -> requests.Session:
    http = requests.Session()
    sent = {"email": accounts.get(customer.user_id).email, "password": factories.PASSWORD}
    headers = {"Sec-Fetch-Site": "same-origin"}
    answer = http.post(f"{served.base}/console/sign-in", data=sent, headers=headers, allow_redirects=False, timeout=20)
    assert answer.status_code == 303
    return http


def lines_of(answer: requests.Response) -> Iterator[str]:
    return (line for line in answer.iter_lines(chunk_size=1, decode_unicode=True) if line and not line.startswith(":"))


def test_a_stream_names_what_happens_and_ends_with_its_session(db: None, served: Service) -> None:
    customer, stranger = factories.customer(), factories.customer()
    http = signed_in(served, customer)
    with http.get(f"{served.base}/console/live", stream=True, timeout=30) as answer:
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        lines = lines_of(answer)
        assert next(lines) == "retry: 3000"
        stranger.submit(factories.tool())
        run = customer.submit(factories.tool())
        assert [next(lines) for _ in range(4)] == ["event: run", f"data: {run} queued", "event: budget", "data:"]
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
    assert [next(each) for each in streams] == [b"retry: 3000\n: open\n\n"] * 3
    trips.clear()
    followers.look_once()
    assert len(trips.statements) == 1
    assert [each.woken.is_set() for each in opened] == [False] * 3
    run = customers[1].submit(factories.tool())
    followers.look_once()
    assert [each.woken.is_set() for each in opened] == [False, True, False]
    assert next(streams[1]) == f"event: run\ndata: {run} queued\n\n".encode()


def test_nobody_without_a_session_follows(stranger: Browser) -> None:
    assert stranger.ask("/live").status_code == 303
