"""Webhooks are no weapon: what is sent by hand is limited, and so are the failures of one account at one host."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from common import boot, webhooks
from common.kit import clock
from tests.outside.receiver import Receiver
from tests.webhooks.conftest import Api, Endpoint, happen, make_user, sql
from worker.delivery import Sender
from worker.failures import MOST, WINDOW, Failures

# -- by hand -------------------------------------------------------------------------------------------------------


def made_at(api: Api, url: str) -> str:
    return f"/webhooks/{api('POST', '/webhooks', 201, url=url)['data']['id']}"


def test_ten_tests_a_minute_of_an_endpoint(api: Api, receiver: Receiver) -> None:
    path, another = made_at(api, f"{receiver.url}/a"), made_at(api, f"{receiver.url}/b")
    for _ in range(10):
        api("POST", f"{path}/test", 200)
    assert api("POST", f"{path}/test", 429)["code"] == "rate_limited"
    api("POST", f"{another}/test", 200)
    assert len(receiver.requests("/a")) == 10
    sql("update throttles set ends_at = now()")
    api("POST", f"{path}/test", 200)


def test_a_test_that_is_refused_leaves_nothing(api: Api, receiver: Receiver) -> None:
    path = made_at(api, f"{receiver.url}/a")
    for _ in range(10):
        api("POST", f"{path}/test", 200)
    api("POST", f"{path}/test", 429)
    assert len(api("GET", f"{path}/deliveries", 200)["data"]) == 10
    assert sql("select count(*) as n from events")[0].n == 10


def test_new_endpoints_are_no_way_around(api: Api, other: Api, receiver: Receiver) -> None:
    """Sixty a minute to one host, whatever its endpoints are called and however often they are made."""
    answers = []
    for n in range(7):
        path = made_at(api, f"{receiver.url}/{n}")
        for _ in range(9):
            answers.append(answer_of(api, f"{path}/test"))
        api("DELETE", path, 204)
    assert answers == [200] * 60 + [429] * 3
    assert len(receiver.requests()) == 60
    assert answer_of(other, f"{made_at(other, f'{receiver.url}/others')}/test") == 200


def answer_of(api: Api, path: str) -> int:
    try:
        api("POST", path, 200)
    except AssertionError as refused:
        assert "rate_limited" in str(refused)
        return 429
    return 200


def test_resends_and_replays_are_limited_too(api: Api, receiver: Receiver, sender: Sender, user_id: UUID) -> None:
    path = made_at(api, f"{receiver.url}/a")
    api("POST", f"{path}/test", 200)
    [delivery] = api("GET", f"{path}/deliveries", 200)["data"]
    for _ in range(10):
        api("POST", f"{path}/replay", 200, since="2026-01-01T00:00:00Z")
    assert api("POST", f"{path}/replay", 429, since="2026-01-01T00:00:00Z")["code"] == "rate_limited"
    sql("delete from throttles")
    for _ in range(60):
        api("POST", f"{path}/deliveries/{delivery['id']}/resend", 200)
    assert api("POST", f"{path}/deliveries/{delivery['id']}/resend", 429)["code"] == "rate_limited"


# -- failing -------------------------------------------------------------------------------------------------------


class Stopped(clock.Clock):
    """Time passes when it is told to."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time() -> Iterator[Stopped]:
    stopped = Stopped()
    before = clock.use(stopped)
    yield stopped
    clock.use(before)


ADA, BOB = UUID(int=1), UUID(int=2)


def test_failures_are_counted_by_account_and_host(time: Stopped) -> None:
    failures = Failures(3)
    for _ in range(3):
        assert failures.delay(ADA, "a") is None
        failures.note(ADA, "a", good=False)
    assert [failures.delay(ADA, "a") for _ in range(3)] == [80.0, 100.0, 120.0], "one after the other"
    assert failures.delay(ADA, "b") is None
    assert failures.delay(BOB, "a") is None
    time.now += WINDOW
    assert failures.delay(ADA, "a") is None


def test_one_that_arrives_makes_good(time: Stopped) -> None:
    failures = Failures(3)
    for good in (False, False, True, False, False):
        failures.note(ADA, "a", good=good)
    assert failures.delay(ADA, "a") is None


def test_a_host_that_does_not_want_it_is_left_alone(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    """Whatever the paths, through endpoints or not; others who have business there are not concerned."""
    for n in range(20):
        receiver.always(f"/{n}", 404)
        endpoint(f"/{n}")
    for _ in range(4):
        happen(user_id)
    while sender.run():
        pass
    assert len(receiver.requests()) == MOST
    waiting = sql("select tries, due_at > now() + interval '50 s' as later from deliveries where tries = 0")
    assert [(row.tries, row.later) for row in waiting] == [(0, True)] * (80 - MOST), "put off, and no try is lost"

    neighbour = make_user()
    webhooks.create(neighbour, boot.outbound(), url=f"{receiver.url}/neighbour", events=["budget.threshold"])
    happen(neighbour)
    sender.run()
    assert len(receiver.requests("/neighbour")) == 1
