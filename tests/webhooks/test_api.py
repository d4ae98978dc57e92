"""The endpoints of `/webhooks` and `/events`, over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
import requests
from standardwebhooks import Webhook

from common.identity import audit, keys
from tests import factories
from tests.outside.receiver import Receiver, Reply
from tests.webhooks.conftest import Api, api_of, happen, headers, pass_time, settled, sql, statuses
from worker.delivery import Sender


def test_the_life_of_an_endpoint(api: Api, receiver: Receiver) -> None:
    url = f"{receiver.url}/hook"
    made = api("POST", "/webhooks", 201, url=url, description="Billing")["data"]
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    first = {"id", "url", "events", "description", "status", "disabled_reason", "created_at"}
    assert set(made) == first | {"rate_limit_per_second", "headers", "payload", "include"}
    assert (made["url"], made["events"], made["status"], made["disabled_reason"]) == (
        url,
        ["completed"],
        "enabled",
        None,
    )
    path = f"/webhooks/{made['id']}"

    assert api("GET", path, 200)["data"] == made, "the secret is told once"
    assert api("GET", "/webhooks", 200)["data"] == [made]
    changed = api("PATCH", path, 200, events=["invocation.queued", "completed"], status="disabled")["data"]
    assert (changed["events"], changed["status"]) == (["invocation.queued", "completed"], "disabled")
    assert changed["disabled_reason"] == "manual"
    assert api("PATCH", path, 200, status="enabled")["data"]["disabled_reason"] is None
    rotated = api("POST", f"{path}/rotate-secret", 200)["data"]
    assert rotated["secret"] not in (secret, None)
    api("DELETE", path, 204)
    api("GET", path, 404)
    api("DELETE", path, 404)


REFUSED = [
    "http://169.254.169.254/latest/meta-data/",
    "https://[::ffff:169.254.169.254]/",
    "https://10.0.0.1/",
    "https://0x0a000001/",
    "https://user:pw@example.com/",
    "https://example.com:22/",
    "http://example.com/",
    "ftp://example.com/",
    "https://metadata.google.internal/",
    "example.com",
    "https://example.com/" + "x" * 8192,
]


@pytest.mark.parametrize("url", REFUSED)
def test_urls_that_are_refused(api: Api, receiver: Receiver, url: str) -> None:
    assert api("POST", "/webhooks", 422, url=url)["code"] == "url_refused"
    made = api("POST", "/webhooks", 201, url=receiver.url)["data"]
    assert api("PATCH", f"/webhooks/{made['id']}", 422, url=url)["code"] == "url_refused"
    assert api("GET", f"/webhooks/{made['id']}", 200)["data"]["url"] == receiver.url


@pytest.mark.parametrize("url", REFUSED[:-1])
def test_a_url_of_a_call_is_held_to_the_same_rules(_web: str, db: None, url: str) -> None:
    customer, tool = factories.customer(), factories.tool()
    path = f"/tools/{tool.slug}/invoke"
    problem = api_of(_web, customer.user_id)("POST", path, 422, input={"text": "hi"}, webhook_url=url)
    assert (problem["code"], problem["errors"][0]["pointer"]) == ("url_refused", "/webhook_url")
    assert sql("select 1 from invocations union all select 1 from events") == []


@pytest.mark.parametrize(
    "body",
    [
        {"events": []},
        {"events": ["invocation.exploded"]},
        {"events": ["completed"] * 2},
        {"events": ["completed"] * 1000},
        {"events": None},
        {"secret": "whsec_mine"},
        {"status": "disabled"},
        {"url": None},
        {"url": " "},
        {"description": 1},
    ],
    ids=str,
)
def test_bodies_that_are_refused(api: Api, receiver: Receiver, body: dict[str, Any]) -> None:
    problem = api("POST", "/webhooks", 422, **{"url": receiver.url, **body})
    assert problem["code"] == "validation_failed"
    assert problem["errors"][0]["pointer"].startswith(f"/{next(iter(body))}")


def test_the_21st_is_refused_also_when_they_race(api: Api, receiver: Receiver) -> None:
    def add(_: int) -> int:
        headers = {"X-API-Key": api.key}
        return requests.post(f"{api.base}/api/v1/webhooks", json={"url": receiver.url}, headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(add, range(24))) == [201] * 20 + [409] * 4
    page = api("GET", "/webhooks?limit=15", 200)
    assert page["meta"]["has_more"]
    rest = api("GET", f"/webhooks?limit=15&cursor={page['meta']['next_cursor']}", 200)
    assert len({each["id"] for each in page["data"] + rest["data"]}) == 20


def test_the_log_resend_and_replay(api: Api, receiver: Receiver, sender: Sender, user_id: UUID) -> None:
    made = api("POST", "/webhooks", 201, url=f"{receiver.url}/hook", events=["budget.threshold"])["data"]
    receiver.script("/hook", Reply(500, body=b"no"))
    event_id = happen(user_id)
    sender.run()
    path = f"/webhooks/{made['id']}/deliveries"
    [told] = api("GET", path, 200)["data"]
    assert asked_health(api, made) == ((0, 0, 1), 500, told["attempts"][0]["error"])
    assert (told["event_id"], told["event_type"], told["status"]) == (str(event_id), "budget.threshold", "pending")
    assert told["next_attempt_at"] is not None
    [attempt] = told["attempts"]
    assert set(attempt) == {"at", "http_status", "duration_ms", "error", "response_excerpt"}
    assert (attempt["http_status"], attempt["response_excerpt"]) == (500, "no")
    assert api("GET", f"{path}?status=failed&status=delivered", 200)["data"] == []

    assert api("POST", f"{path}/{told['id']}/resend", 200)["data"]["status"] == "pending"
    sender.run()
    [told] = api("GET", path, 200)["data"]
    assert (told["status"], told["next_attempt_at"], len(told["attempts"])) == ("delivered", None, 2)

    assert api("GET", f"{path}/{told['id']}", 200)["data"] == told
    api("GET", f"{path}/{made['id']}", 404)
    assert asked_health(api, made) == ((1, 0, 0), 204, None)

    sql("update deliveries set status = 'failed'")
    assert asked_health(api, made) == ((0, 1, 0), 204, None)
    replay, since = f"/webhooks/{made['id']}/replay", "2020-01-01T00:00:00Z"
    assert api("GET", f"{replay}?since={since}", 200)["data"] == {"count": 1}
    assert api("GET", f"{replay}?since=2999-01-01T00:00:00Z", 200)["data"] == {"count": 0}
    api("GET", replay, 422)
    assert api("POST", f"/webhooks/{made['id']}/replay", 200, since="2020-01-01T00:00:00Z")["data"] == {
        "replayed": 1,
        "has_more": False,
    }
    sender.run()
    assert statuses() == ["delivered"]
    api("PATCH", f"/webhooks/{made['id']}", 200, status="disabled")
    api("POST", f"{path}/{told['id']}/resend", 409)
    api("POST", f"/webhooks/{made['id']}/replay", 409, since="2020-01-01T00:00:00Z")
    api("POST", f"/webhooks/{made['id']}/replay", 422)
    api("POST", f"{path}/{made['id']}/resend", 409)


def asked_health(api: Api, made: dict[str, Any]) -> tuple[tuple[int, ...], int | None, str | None]:
    """How an endpoint is said to be doing: delivered, failed, pending; the last answer."""
    found = api("GET", f"/webhooks/{made['id']}/health", 200)["data"]
    assert (found["at"] is None) == (found["http_status"] is None)
    return tuple(found[name] for name in ("delivered", "failed", "pending")), found["http_status"], found["error"]


def test_a_test_is_sent_and_answered(api: Api, receiver: Receiver) -> None:
    made = api("POST", "/webhooks", 201, url=f"{receiver.url}/hook")["data"]
    receiver.script("/hook", Reply(200, body=b"thanks"), Reply(410))
    path = f"/webhooks/{made['id']}"
    attempt = api("POST", f"{path}/test", 200)["data"]
    assert (attempt["http_status"], attempt["error"], attempt["response_excerpt"]) == (200, None, "thanks")
    [request] = receiver.requests()
    assert Webhook(made["secret"]).verify(request.body, headers(request))["type"] == "webhook.test"
    assert api("POST", f"{path}/test", 200)["data"]["http_status"] == 410
    assert api("GET", path, 200)["data"]["status"] == "enabled", "a test does not judge"


def test_the_default_secret(api: Api) -> None:
    first = api("GET", "/webhooks/default-secret", 200)["data"]["secret"]
    assert api("GET", "/webhooks/default-secret", 200)["data"]["secret"] == first
    second = api("POST", "/webhooks/default-secret/rotate", 200)["data"]["secret"]
    assert api("GET", "/webhooks/default-secret", 200)["data"]["secret"] == second != first


def test_the_feed_by_cursor(api: Api, other: Api, user_id: UUID) -> None:
    events = [happen(user_id, n=n) for n in range(5)]
    settled()
    seen: list[str] = []
    query = "limit=2"
    while True:
        page = api("GET", f"/events?{query}", 200)
        seen += [each["id"] for each in page["data"]]
        query = f"limit=2&cursor={page['meta']['next_cursor']}"
        if not page["meta"]["has_more"]:
            break
    assert seen == [str(event) for event in events]
    assert set(page["data"][0]) == {"id", "type", "timestamp", "data"}
    assert api("GET", f"/events?{query}", 200)["data"] == []
    late = happen(user_id, n=5)
    settled()
    [news] = api("GET", f"/events?{query}", 200)["data"]
    assert (news["id"], news["type"], news["data"]) == (str(late), "budget.threshold", {"n": 5})
    assert other("GET", "/events", 200)["data"] == []
    assert other("GET", f"/events?{query}", 400)["code"] == "invalid_cursor"


def test_long_polls_of_the_feed_beside_other_requests(api: Api, other: Api, user_id: UUID) -> None:
    """In a real web process, whose one thread serves all of them."""
    with ThreadPoolExecutor(10) as pool:
        polls = [pool.submit(api, "GET", f"/events?wait=60&limit={n}", 200) for n in range(1, 11)]
        assert other("GET", "/events?wait=1", 200)["data"] == []
        assert not any(poll.done() for poll in polls)
        event = happen(user_id)
        assert [[each["id"] for each in poll.result(timeout=60)["data"]] for poll in polls] == [[str(event)]] * 10


def test_what_is_somebody_elses_is_not_there(
    api: Api, other: Api, receiver: Receiver, sender: Sender, user_id: UUID
) -> None:
    made = api("POST", "/webhooks", 201, url=receiver.url, events=["budget.threshold"])["data"]
    happen(user_id)
    sender.run()
    path = f"/webhooks/{made['id']}"
    [told] = api("GET", f"{path}/deliveries", 200)["data"]
    theirs = other("POST", "/webhooks", 201, url=receiver.url)["data"]
    for method, below, body in (
        ("GET", "", {}),
        ("PATCH", "", {"status": "disabled"}),
        ("DELETE", "", {}),
        ("POST", "/rotate-secret", {}),
        ("POST", "/test", {}),
        ("GET", "/health", {}),
        ("GET", "/replay?since=2020-01-01T00:00:00Z", {}),
        ("GET", "/deliveries", {}),
        ("GET", f"/deliveries/{told['id']}", {}),
        ("POST", f"/deliveries/{told['id']}/resend", {}),
        ("POST", "/replay", {"since": "2020-01-01T00:00:00Z"}),
    ):
        other(method, f"{path}{below}", 404, **body)
    other("POST", f"/webhooks/{theirs['id']}/deliveries/{told['id']}/resend", 404)
    assert api("GET", path, 200)["data"]["status"] == "enabled"
    assert len(receiver.requests()) == 1


def test_a_key_needs_the_scope(api: Api, user_id: UUID) -> None:
    _, text = keys.create(user_id, "reader", actor=audit.OPERATOR, scopes=["usage:read"])
    for path in ("/webhooks", "/events", "/webhooks/default-secret"):
        assert Api(api.base, text)("GET", path, 403)["code"] == "scope_missing"


def test_a_disabled_endpoint_is_enabled_again(api: Api, receiver: Receiver, sender: Sender, user_id: UUID) -> None:
    made = api("POST", "/webhooks", 201, url=f"{receiver.url}/hook", events=["budget.threshold"])["data"]
    path = f"/webhooks/{made['id']}"
    receiver.script("/hook", 410)
    happen(user_id)
    sender.run()
    shown = api("GET", path, 200)["data"]
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "gone")
    assert api("PATCH", path, 200, status="enabled")["data"]["status"] == "enabled"
    api("POST", f"{path}/replay", 200, since="2020-01-01T00:00:00Z")
    pass_time("1 second")
    sender.run()
    assert statuses() == ["delivered"]
