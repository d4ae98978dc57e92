"""The limit on reads: shared by processes, exact, and per process while Redis is unreachable."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import uuid4

import requests

from common.kit import redis
from dev.servers import Redis
from tests.web.conftest import Service
from web.http.quotas import ReadQuota

NOON = 1_800_000_000.0  # the start of a minute


def test_one_process_serves_exactly_the_quota(db: None) -> None:
    reads, account = ReadQuota(quota=500), uuid4()
    answers = [reads.take(account, NOON + 1) for _ in range(502)]
    assert [allowed for _, allowed in answers] == [True] * 500 + [False] * 2
    assert [limit.remaining for limit, _ in answers] == [*range(499, -1, -1), 0, 0]
    assert answers[0][0].reset == 59


def test_processes_together_never_exceed_it_and_hardly_waste_any(db: None) -> None:
    processes, account = [ReadQuota(quota=500) for _ in range(3)], uuid4()
    allowed = sum(processes[n % 3].take(account, NOON)[1] for n in range(700))
    assert 480 <= allowed <= 500


def test_a_new_minute_and_another_account_start_afresh(db: None) -> None:
    reads, account = ReadQuota(quota=1), uuid4()
    assert reads.take(account, NOON)[1]
    assert not reads.take(account, NOON + 59)[1]
    assert reads.take(account, NOON + 60)[1]
    assert reads.take(uuid4(), NOON + 60)[1]


def test_a_read_rarely_asks_redis(db: None) -> None:
    reads, account = ReadQuota(), uuid4()
    before = redis.client().info("stats")["total_commands_processed"]
    for _ in range(1000):
        reads.take(account, NOON)
    assert redis.client().info("stats")["total_commands_processed"] - before < 50


def test_without_redis_a_process_counts_alone(db: None, redis_server: Redis) -> None:
    reads, account = ReadQuota(quota=100), uuid4()
    redis_server.kill()
    try:
        assert sum(reads.take(account, NOON)[1] for _ in range(120)) == 100
    finally:
        redis_server.start()
        redis_server.wait()


ME = {"X-Account": str(uuid4())}


def test_every_authenticated_answer_shows_the_limits(service: Service) -> None:
    headers = service("GET", "/api/v1/things/mine", headers=ME).headers
    assert headers["RateLimit-Policy"] == '"reads";q=6000;w=60'
    assert headers["RateLimit"].startswith('"reads";r=59')
    submitted = service("POST", "/api/v1/things/submit", headers=ME).headers
    assert submitted["RateLimit-Policy"] == '"submits";q=300;w=60'
    refused = service("POST", "/api/v1/things/refused-submit", headers=ME)
    assert (refused.status_code, "RateLimit" in refused.headers) == (402, True)
    invalid = service("GET", "/api/v1/things/mine?x=1", headers=ME)
    assert (invalid.status_code, "RateLimit" in invalid.headers) == (422, True)
    assert "RateLimit" not in service("GET", "/health").headers


def within_a_minute(read: Callable[[], requests.Response]) -> requests.Response:
    """What `read` returns; it is called again if a new minute began meanwhile, and with it a new quota."""
    for _ in range(5):
        minute = time.time() // 60
        answer = read()
        if time.time() // 60 == minute:
            return answer
    raise AssertionError("five times a new minute began meanwhile")


def left(answer: requests.Response) -> int:
    return int(answer.headers["RateLimit"].partition("r=")[2].partition(";")[0])


def test_a_submit_is_never_a_read(service: Service) -> None:
    """Also if it is refused."""
    me = {"X-Account": str(uuid4())}
    before = left(service("GET", "/api/v1/things/mine", headers=me))
    told = [left(service("POST", "/api/v1/things/refused-submit", headers=me)) for _ in range(5)]
    after = left(service("GET", "/api/v1/things/mine", headers=me))
    assert (told, after) == ([before] * 5, before - 1) or after == 5999, "a new minute may begin in between"


def test_a_read_too_many(service: Service, redis: redis.Client) -> None:
    """Another process uses up the quota in Redis; this process learns of it with its next allowance."""

    def read_too_many() -> requests.Response:
        account = str(uuid4())
        path = "/api/v1/things/mine"
        service("GET", path, headers={"X-Account": account})
        [key] = redis.keys(f"reads:{{{account}}}:*")
        redis.incrby(key, 6000)
        return [service("GET", path, headers={"X-Account": account}) for _ in range(101)][-1]

    answer = within_a_minute(read_too_many)
    assert answer.status_code == 429
    assert answer.json()["code"] == "rate_limited"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
