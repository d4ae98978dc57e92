"""Deliveries over real HTTP, with the real tables; time passes by moving the rows."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks import Webhook

from common import boot, webhooks
from common.kit import clock, db, failpoints
from common.kit.paging import Window
from common.webhooks import history
from tests.client import eventually
from tests.outside.receiver import Receiver, Reply
from tests.webhooks.conftest import Endpoint, happen, headers, pass_time, signatures, sql, statuses
from worker.delivery import Sender


def log(user_id: UUID, made: webhooks.CreatedEndpoint) -> list[webhooks.DeliveryRecord]:
    return list(webhooks.deliveries(user_id, made.endpoint.id, Window(100)).items)


def test_an_event_arrives_signed_over_the_bytes_that_arrive(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    made = endpoint()
    event_id = happen(user_id, percent=80, note="Grüße", request_id="req-1")
    assert sender.run() == 1

    [request] = receiver.requests()
    body = Webhook(made.secret).verify(request.body, headers(request))
    assert body == {
        "type": "budget.threshold",
        "timestamp": body["timestamp"],
        "data": {"percent": 80, "note": "Grüße", "request_id": "req-1"},
    }
    assert request.method == "POST"
    sent = headers(request)
    assert sent["webhook-id"] == str(event_id)
    assert abs(int(sent["webhook-timestamp"]) - request.at) <= 5
    assert sent["content-type"] == "application/json"
    assert sent["x-request-id"] == "req-1"
    [told] = log(user_id, made)
    assert (told.status, told.event_id, told.event_type) == ("delivered", event_id, "budget.threshold")
    [attempt] = told.attempts
    assert (attempt.http_status, attempt.error, attempt.response_excerpt) == (204, None, "")


def test_only_endpoints_that_asked_for_it_and_are_enabled_hear_of_it(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    endpoint("/wants", events=["webhook.test", "budget.threshold"])
    endpoint("/other", events=["completed"])
    off = endpoint("/off")
    webhooks.change(user_id, off.endpoint.id, boot.outbound(), status="disabled")
    happen(user_id)
    sender.run()
    assert [request.path for request in receiver.requests()] == ["/wants"]


def test_nothing_is_told_of_what_was_rolled_back(user_id: UUID, endpoint: Endpoint) -> None:
    endpoint()
    with pytest.raises(RuntimeError), db.transaction() as session:
        webhooks.record(session, user_id, "budget.threshold", {})
        raise RuntimeError
    assert sql("select 1 from events union all select 1 from deliveries") == []


def test_a_receiver_that_is_down_for_a_day_gets_everything_once_it_is_back(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    made = endpoint("/down")
    receiver.always("/down", 503)
    events = {str(happen(user_id, n=n)) for n in range(3)}
    for hours in (0, 0.01, 0.1, 1, 2.5, 6, 11):  # each try finds it down, for 20 hours in all
        pass_time(f"{hours} hours")
        sender.run()
    assert set(statuses()) == {"pending"}

    receiver.always("/down", 204)
    pass_time("11 hours")
    sender.run()
    assert statuses() == ["delivered"] * 3
    requests = receiver.requests("/down")
    assert len(requests) == 24
    assert {headers(request)["webhook-id"] for request in requests[-3:]} == events
    for request in requests:
        Webhook(made.secret).verify(request.body, headers(request))
    for told in log(user_id, made):
        assert [attempt.http_status for attempt in told.attempts] == [503] * 7 + [204]


def test_what_was_given_up_comes_by_replay(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    made = endpoint()
    receiver.always("/hook", 500)
    happen(user_id, n=0)
    for _ in range(9):
        sender.run()
        pass_time("12 hours")
    assert statuses() == ["failed"]
    assert len(receiver.requests()) == 8
    since = clock.now()
    happen(user_id, n=1)
    sql("update deliveries set status = 'failed', finished_at = now() where status = 'pending'")

    receiver.always("/hook", 200)
    assert webhooks.replay(user_id, made.endpoint.id, since) == webhooks.ReplayResult(1, has_more=False)
    sender.run()
    assert statuses() == ["failed", "delivered"]
    first, second = receiver.requests()[0], receiver.requests()[-1]
    assert headers(first)["webhook-id"] != headers(second)["webhook-id"]


def test_replay_goes_from_the_oldest_and_says_that_there_is_more(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MAX_REPLAY", 2)
    made = endpoint()
    since = clock.now() - timedelta(hours=1)
    events = [str(happen(user_id, n=n)) for n in range(3)]
    sql("update deliveries set status = 'failed', finished_at = now()")
    assert webhooks.replay(user_id, made.endpoint.id, since) == webhooks.ReplayResult(2, has_more=True)
    sender.run()
    assert statuses() == ["delivered", "delivered", "failed"]
    assert webhooks.replay(user_id, made.endpoint.id, since) == webhooks.ReplayResult(1, has_more=False)
    sender.run()
    assert sorted(headers(request)["webhook-id"] for request in receiver.requests()) == sorted(events)


def test_one_delivery_can_be_sent_again_under_the_same_id(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    made = endpoint()
    happen(user_id)
    sender.run()
    [told] = log(user_id, made)
    again = webhooks.resend(user_id, made.endpoint.id, told.id)
    assert again.status == "pending"
    sender.run()
    [told] = log(user_id, made)
    assert told.status == "delivered"
    assert [attempt.n for attempt in told.attempts] == [1, 2]
    assert len({headers(request)["webhook-id"] for request in receiver.requests()}) == 1


ANSWERS = {
    "10 MB": (Reply(200, body=b"x" * 10_000_000), "delivered", None),
    "299": (Reply(299), "delivered", None),
    "redirect": (Reply(302, headers={"Location": "/else"}), "pending", "answered 302; redirects are not followed."),
    "404": (Reply(404), "pending", "answered 404."),
    "500": (Reply(500, body=b"\x00\xffno \x1b[31mred\n"), "pending", "answered 500."),
    "410": (Reply(410), "failed", "answered 410."),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_answers_mean(user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender, name: str) -> None:
    reply, status, verdict = ANSWERS[name]
    made = endpoint()
    receiver.always("/hook", reply)
    happen(user_id)
    sender.run()
    [told] = log(user_id, made)
    [attempt] = told.attempts
    assert (told.status, attempt.error, attempt.http_status) == (
        status,
        verdict and f"The receiver {verdict}",
        reply.status,
    )
    assert (
        attempt.response_excerpt
        == reply.body[:2048]
        .replace(b"\x00", b"\xef\xbf\xbd")
        .replace(b"\xff", b"\xef\xbf\xbd")
        .replace(b"\x1b", b"\xef\xbf\xbd")
        .decode()
    )
    assert [request.path for request in receiver.requests()] == ["/hook"]


def test_gone_disables_the_endpoint_and_its_owner_is_mailed(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    made = endpoint()
    receiver.script("/hook", 410)
    happen(user_id)
    happen(user_id)
    sender.run()
    row = webhooks.endpoint(user_id, made.endpoint.id)
    assert (row.status, row.disabled_reason) == ("disabled", "gone")
    assert statuses() == ["failed", "failed"], "what is still waiting ends with the endpoint"
    assert len(receiver.requests()) == 1
    [mail] = sql("select m.template, m.data, m.recipient = u.email as owner from mails m, users u")
    assert (mail.template, mail.owner, mail.data["url"]) == ("endpoint_disabled", True, row.url)


def test_five_days_of_failing_disable_it_and_enabling_begins_anew(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    made = endpoint()
    receiver.always("/hook", 500)
    happen(user_id)
    sender.run()
    sql("update webhook_endpoints set failing_since = failing_since - interval '4 days 23 hours 59 minutes'")
    assert webhooks.disable_failing() == 0
    pass_time("2 minutes")
    assert webhooks.disable_failing() == 1
    assert webhooks.disable_failing() == 0
    row = webhooks.endpoint(user_id, made.endpoint.id)
    assert (row.status, row.disabled_reason) == ("disabled", "failing")
    assert len(sql("select 1 from mails")) == 1
    happen(user_id)
    assert len(statuses()) == 1, "nothing is recorded for a disabled endpoint"

    row = webhooks.change(user_id, made.endpoint.id, boot.outbound(), status="enabled")
    assert (row.status, row.disabled_reason, row.failing_since) == ("enabled", None, None)
    receiver.always("/hook", 200)
    sender.run()
    assert statuses() == ["delivered"]


def test_a_quiet_endpoint_is_not_disabled_for_an_old_failure(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    made = endpoint()
    receiver.always("/hook", 500)
    happen(user_id)
    for _ in range(8):
        sender.run()
        pass_time("1 day")
    assert statuses() == ["failed"]
    assert webhooks.disable_failing() == 0, "nothing is being tried"
    happen(user_id)
    assert webhooks.disable_failing() == 0, "the next one has not been tried yet"
    sender.run()
    assert webhooks.disable_failing() == 1, "it counts from the first failure"
    assert webhooks.endpoint(user_id, made.endpoint.id).status == "disabled"


def test_one_success_ends_the_failing(user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender) -> None:
    made = endpoint()
    receiver.script("/hook", 500, 200)
    happen(user_id)
    sender.run()
    assert webhooks.endpoint(user_id, made.endpoint.id).failing_since is not None
    pass_time("6 days")
    sender.run()
    assert webhooks.endpoint(user_id, made.endpoint.id).failing_since is None
    assert webhooks.disable_failing() == 0


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_receiver_says_when(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender, status: int
) -> None:
    endpoint()
    receiver.script(
        "/hook", Reply(status, headers={"Retry-After": "600"}), Reply(500, headers={"Retry-After": "86400"})
    )
    happen(user_id)
    sender.run()
    [row] = sql("select extract(epoch from due_at - now())::float as wait from deliveries")
    assert 540 <= row.wait <= 600
    pass_time("11 minutes")
    sender.run()
    [row] = sql("select extract(epoch from due_at - now())::float as wait from deliveries")
    assert 210 <= row.wait <= 330, "Retry-After counts on 429 and 503 only"


def test_rotation_in_the_middle_of_the_retries(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    made = endpoint()
    receiver.script("/hook", 500, 500, 200)
    happen(user_id)
    sender.run()
    rotated = webhooks.rotate_secret(user_id, made.endpoint.id)
    pass_time("23 hours 50 minutes")
    sender.run()
    pass_time("20 minutes")
    sender.run()

    before, within, after = receiver.requests()
    assert [len(signatures(request)) for request in (before, within, after)] == [1, 2, 1]
    Webhook(made.secret).verify(before.body, headers(before))
    for secret in (made.secret, rotated.secret):
        Webhook(secret).verify(within.body, headers(within))
    Webhook(rotated.secret).verify(after.body, headers(after))


def test_a_url_given_per_call_is_signed_with_the_accounts_default_secret(
    user_id: UUID, receiver: Receiver, sender: Sender
) -> None:
    event_id = happen(user_id)
    statement = "insert into deliveries (id, event_id, user_id, url) values (uuid7(), :event, :user, :url)"
    sql(statement, event=event_id, user=user_id, url=f"{receiver.url}/call")
    sender.run()
    [request] = receiver.requests("/call")
    old = webhooks.default_secret(user_id).open()
    Webhook(old).verify(request.body, headers(request))

    new = webhooks.rotate_default_secret(user_id)
    sql("update deliveries set status = 'pending', finished_at = null")
    sender.run()
    last = receiver.requests()[-1]
    assert [Webhook(secret).verify(last.body, headers(last)) for secret in (old, new)] == [json.loads(last.body)] * 2


def test_an_address_that_became_forbidden_is_refused_at_connect_time(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    made = endpoint()
    sql("update webhook_endpoints set url = 'http://169.254.169.254/latest/meta-data/'")
    happen(user_id)
    sender.run()
    [told] = log(user_id, made)
    [attempt] = told.attempts
    assert told.status == "pending"
    assert (attempt.http_status, attempt.response_excerpt) == (None, None)
    assert attempt.error == "The URL leads to an address that is not allowed as a target."


def test_a_deleted_endpoint_hears_nothing_more(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    made = endpoint()
    happen(user_id)
    webhooks.remove(user_id, made.endpoint.id)
    assert sender.run() == 1
    assert statuses() == ["failed"]
    assert receiver.requests() == []


def test_the_secret_is_nowhere_in_the_tables(user_id: UUID, endpoint: Endpoint) -> None:
    secrets = [endpoint().secret, webhooks.default_secret(user_id).open()]
    rows = sql("select e::text || d::text as everything from webhook_endpoints e, webhook_default_secrets d")
    for secret in secrets:
        assert not any(secret.removeprefix("whsec_") in row.everything for row in rows)


def test_a_secret_that_cannot_be_read_fails_the_attempt_not_the_worker(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    first, second = endpoint("/first"), endpoint("/second")
    sql(
        "update webhook_endpoints set secret = (select secret from webhook_endpoints where id = :other) where id = :id",
        other=second.endpoint.id,
        id=first.endpoint.id,
    )
    happen(user_id)
    sender.run()
    [told] = log(user_id, first)
    assert told.attempts[0].error == "The signing secret could not be decrypted; rotate it."
    assert [request.path for request in receiver.requests()] == ["/second"]


def test_a_test_is_sent_now_and_once(user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender) -> None:
    made = endpoint()
    receiver.script("/hook", Reply(500, body=b"oops"))
    attempt = webhooks.test(user_id, made.endpoint.id, boot.outbound())
    assert (attempt.http_status, attempt.response_excerpt) == (500, "oops")
    body: dict[str, Any] = json.loads(receiver.requests()[0].body)
    assert body["type"] == "webhook.test"
    assert statuses() == ["failed"]
    assert webhooks.endpoint(user_id, made.endpoint.id).failing_since is None
    pass_time("1 day")
    assert sender.run() == 0


def test_two_senders_and_many_messages_deliver_each_once(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    endpoint("/a")
    endpoint("/b")
    events = {str(happen(user_id, n=n)) for n in range(30)}
    other = Sender(boot.outbound(), threads=20)
    with ThreadPoolExecutor(8) as pool:
        for ran in [pool.submit(each.run) for each in (sender, other) * 4]:
            ran.result()

    def all_delivered() -> bool:
        webhooks.unpark()  # what was parked is brought back by the sweep
        sender.run()
        return set(statuses()) == {"delivered"}

    eventually("all deliveries", 30, all_delivered)
    for path in ("/a", "/b"):
        ids = [headers(request)["webhook-id"] for request in receiver.requests(path)]
        assert sorted(ids) == sorted(events)


def test_one_message_is_enough_for_many_deliveries(user_id: UUID, endpoint: Endpoint) -> None:
    """Whoever takes one of several calls somebody else: a receiver that hangs must not hold up those behind it."""
    for path in ("/a", "/b"):
        endpoint(path)
    happen(user_id)
    first, second = webhooks.claim_next(), webhooks.claim_next()
    assert first is not None
    assert second is not None
    assert (first.more, second.more) == (True, False)
    assert webhooks.claim_next() is None


def test_an_unforeseen_error_is_an_attempt_that_failed(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    """It is on record, and the next attempt is made when its time has come, not when the lease runs out."""
    made = endpoint()
    happen(user_id)

    def fail() -> None:
        raise TypeError("nobody has foreseen this")

    with failpoints.calling("hook.before_send", fail):
        assert sender.run() == 1
    [told] = log(user_id, made)
    assert [(each.http_status, each.error) for each in told.attempts] == [
        (None, "The delivery failed with an internal error.")
    ]
    pass_time("1 minute")
    assert sender.run() == 1
    assert len(receiver.requests()) == 1
    assert statuses() == ["delivered"]
