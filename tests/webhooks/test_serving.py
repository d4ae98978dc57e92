"""How an endpoint is served: so many a second, with headers of its own, and with references if it wants them."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest

from common import boot, invocations, webhooks
from common.errors import Invalid
from common.kit import clock, jsonb
from common.operations import key_rotation
from common.webhooks import OutboxEvent, sending
from common.webhooks.model import Claim
from tests import factories
from tests.client import eventually
from tests.factories import GOOD
from tests.outside.receiver import Receiver, Reply
from tests.webhooks.conftest import Api, Endpoint, happen, headers, make_user, sql
from worker.delivery import Sender

SECRET = "Bearer 0123456789abcdef"
TOKEN = "Zm9vYmFy/YmF6cXV4/key123=="


# -- headers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "echo",
    [
        json.dumps({"got": f"Bearer {TOKEN}"}).replace("/", r"\/"),
        quote(TOKEN, safe=""),
        f"the token is {TOKEN}!",
        "." * (2048 - 18) + TOKEN,
    ],
)
def test_no_spelling_of_a_header_is_shown(
    api: Api, receiver: Receiver, sender: Sender, user_id: UUID, echo: str
) -> None:
    receiver.always("/hook", Reply(500, body=echo.encode()))
    options = {"events": ["budget.threshold"], "headers": {"Authorization": f"Bearer {TOKEN}"}}
    made = api("POST", "/webhooks", 201, url=f"{receiver.url}/hook", **options)["data"]
    happen(user_id)
    sender.run()
    [told] = api("GET", f"/webhooks/{made['id']}/deliveries", 200)["data"]
    excerpt = told["attempts"][0]["response_excerpt"]
    assert not any(part in excerpt for part in ("Zm9v", "YmF6", "key123")), excerpt
    assert "[redacted]" in excerpt


def test_headers_are_sent_and_never_shown(
    api: Api, receiver: Receiver, sender: Sender, user_id: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.always("/hook", Reply(500, body=f"you sent {SECRET}, did you?".encode()))
    own = {"Authorization": SECRET, "X-Tenant": "four", "User-Agent": "mine"}
    shown = dict.fromkeys(own, "[redacted]")
    options = {"events": ["budget.threshold"], "headers": own}
    made = api("POST", "/webhooks", 201, url=f"{receiver.url}/hook", **options)["data"]
    path = f"/webhooks/{made['id']}"
    assert made["headers"] == shown
    assert api("GET", path, 200)["data"]["headers"] == shown
    assert api("GET", "/webhooks", 200)["data"][0]["headers"] == shown

    happen(user_id)
    sender.run()
    api("POST", f"{path}/test", 200)
    assert len(receiver.requests()) == 2
    for request in receiver.requests():
        sent = headers(request)
        assert [sent["authorization"], sent["x-tenant"], sent["user-agent"]] == list(own.values())
        assert sent["content-type"] == "application/json"
        assert sent["webhook-signature"].startswith("v1,")
    [_, told] = api("GET", f"{path}/deliveries", 200)["data"]
    assert told["attempts"][0]["response_excerpt"] == "you sent [redacted], did you?"

    stored = json.dumps([str(tuple(row)) for row in sql("select w::text from webhook_endpoints w")])
    assert SECRET not in stored
    assert "Authorization" in stored
    assert SECRET not in caplog.text
    list(key_rotation.rotate())
    happen(user_id)
    sender.run()
    assert headers(receiver.requests()[-1])["authorization"] == SECRET


def test_headers_are_replaced_and_redacted_ones_are_kept(
    api: Api, receiver: Receiver, sender: Sender, user_id: UUID
) -> None:
    options = {"events": ["budget.threshold"], "headers": {"X-A": "1", "X-B": "2"}}
    path = f"/webhooks/{api('POST', '/webhooks', 201, url=f'{receiver.url}/hook', **options)['data']['id']}"
    changed = api("PATCH", path, 200, headers={"X-B": "[redacted]", "X-C": "3"})["data"]
    assert changed["headers"] == {"X-B": "[redacted]", "X-C": "[redacted]"}
    refused = api("PATCH", path, 422, headers={"X-A": "[redacted]"})
    assert [error["pointer"] for error in refused["errors"]] == ["/headers/X-A"]
    api("PATCH", path, 200, description="others stay")
    happen(user_id)
    sender.run()
    sent = headers(receiver.requests()[-1])
    assert ("x-a" in sent, sent["x-b"], sent["x-c"]) == (False, "2", "3")
    assert api("PATCH", path, 200, headers={})["data"]["headers"] == {}
    happen(user_id)
    sender.run()
    assert "x-b" not in headers(receiver.requests()[-1])
    api("POST", "/webhooks", 422, url=receiver.url, headers={"X-A": "[redacted]"})


REFUSED = (
    *("Webhook-Id", "webhook-signature", "WEBHOOK-TIMESTAMP", "webhook-anything"),
    *("Host", "Content-Type", "content-length", "Content-Encoding", "Connection", "Keep-Alive", "Transfer-Encoding"),
    *(
        "TE",
        "Trailer",
        "Upgrade",
        "Proxy-Authorization",
        "Expect",
        "X-Request-ID",
        "traceparent",
        "a b",
        "a:b",
        "ä",
        "",
    ),
)


def test_headers_that_deliveries_set_themselves_are_refused(api: Api, receiver: Receiver) -> None:
    for name in REFUSED:
        refused = api("POST", "/webhooks", 422, url=receiver.url, headers={name: "x"})
        assert refused["code"] == "validation_failed", name
        assert refused["errors"][0]["pointer"] == f"/headers/{name}", name
    for value in ("", "a\nb", "a\r\nX-B: c", " a", "a ", "\x7f", "→", "x" * 4097, 1, None):
        refused = api("POST", "/webhooks", 422, url=receiver.url, headers={"X-A": value})
        assert refused["errors"][0]["pointer"] == "/headers/X-A", value
    api("POST", "/webhooks", 422, url=receiver.url, headers={"X-A": "1", "x-a": "2"})
    api("POST", "/webhooks", 422, url=receiver.url, headers={f"X-{n}": "1" for n in range(21)})
    assert sql("select 1 from webhook_endpoints") == []


def test_a_change_of_a_header_is_one_for_its_etag(user_id: UUID, endpoint: Endpoint) -> None:
    made = endpoint(headers={"X-A": "1"}).endpoint
    before = made.encrypted_headers
    changed = webhooks.change(user_id, made.id, boot.outbound(), headers={"X-A": "2"})
    assert changed.headers == made.headers
    assert changed.encrypted_headers != before
    with pytest.raises(Invalid):
        webhooks.change(user_id, made.id, boot.outbound(), headers={"Host": "2"})


def test_headers_that_cannot_be_read_are_said_to_be_the_reason(
    api: Api, endpoint: Endpoint, receiver: Receiver, sender: Sender, user_id: UUID
) -> None:
    made = endpoint(headers={"X-A": "1"}).endpoint
    sql("update webhook_endpoints set encrypted_headers = secret")
    happen(user_id)
    sender.run()
    [told] = api("GET", f"/webhooks/{made.id}/deliveries", 200)["data"]
    assert "set them again" in told["attempts"][0]["error"]
    assert receiver.requests() == []


# -- payloads ----------------------------------------------------------------------------------------------------


def test_a_thin_endpoint_is_sent_references(receiver: Receiver, sender: Sender, db: None) -> None:
    customer, worker = factories.customer(), factories.worker()
    for name in ("full", "thin"):
        url, events = f"{receiver.url}/{name}", ["invocation.succeeded", "budget.threshold"]
        webhooks.create(customer.user_id, boot.outbound(), url=url, events=events, payload=name)
    made = customer.submit(factories.tool(), input={"text": "x"})
    invocations.complete(factories.taken(worker), GOOD, worker)
    happen(customer.user_id, percent=80)
    sender.run()
    told: dict[tuple[str, str], Any] = {}
    for request in receiver.requests():
        body = json.loads(request.body)
        told[request.path, body["type"]] = body
    thin, full = (told[path, "invocation.succeeded"] for path in ("/thin", "/full"))
    assert thin.keys() == full.keys() == {"type", "timestamp", "data"}
    assert thin["data"] == {name: full["data"][name] for name in ("id", "status", "links")}
    assert (thin["data"]["id"], thin["data"]["status"]) == (str(made), "succeeded")
    assert told["/thin", "budget.threshold"]["data"] == told["/full", "budget.threshold"]["data"] == {"percent": 80}


def test_an_output_that_is_too_large_to_be_sent_is_not_read(db: None) -> None:
    customer, worker = factories.customer(), factories.worker()
    made = customer.submit(factories.tool(), input={"text": "x"})
    large = replace(GOOD, output={"text": "x" * webhooks.MAX_READ})
    invocations.complete(factories.taken(worker), large, worker)
    end = invocations.event_data("invocation.succeeded", made, 1, most=webhooks.MAX_READ)
    assert not end.keys() & {"input", "output"}
    begun = invocations.event_data("invocation.running", made, 1, most=webhooks.MAX_READ)
    assert (json.loads(jsonb.encoded(begun["input"])), begun["output"]) == ({"text": "x"}, None)
    event = OutboxEvent(made, customer.user_id, "invocation.succeeded", made, None, 1, clock.now())
    sent = json.loads(sending.body(event, end))
    assert (sent["data"].keys(), sent["truncated"]) == ({"id", "status", "links"}, True)


# -- so many a second --------------------------------------------------------------------------------------------

RATE = 4


def claimed() -> Claim:
    claim = webhooks.claim_next()
    assert claim is not None
    return claim


def test_turns_are_so_far_apart(user_id: UUID, endpoint: Endpoint) -> None:
    """By the database's clock, whichever process asks."""
    endpoint(rate_limit_per_second=RATE)
    for _ in range(3):
        happen(user_id)
    first, second = claimed(), claimed()
    assert first.paced
    assert webhooks.take_turn(first) == (0.0, 1 / RATE)
    refused = webhooks.take_turn(second)
    assert 0 < refused.wait <= refused.interval
    sql("update webhook_endpoints set next_send_at = next_send_at - interval '250 milliseconds'")
    assert webhooks.take_turn(second).wait == 0
    assert webhooks.take_turn(claimed()).wait > 0


def test_without_a_limit_there_are_no_turns(user_id: UUID, endpoint: Endpoint) -> None:
    made = endpoint(rate_limit_per_second=RATE).endpoint
    for _ in range(2):
        happen(user_id)
    waiting = claimed()
    assert webhooks.take_turn(waiting).wait == 0
    webhooks.change(user_id, made.id, boot.outbound(), rate_limit_per_second=None)
    assert webhooks.take_turn(waiting) == (0.0, 0.0)
    assert not claimed().paced


def test_an_endpoint_gets_as_many_in_a_second_as_it_wants_and_its_neighbour_does_not_wait(
    user_id: UUID, endpoint: Endpoint, receiver: Receiver, sender: Sender
) -> None:
    """Two senders, as of two processes; the deliveries come one by one, all of them, and each once."""
    endpoint("/slow", rate_limit_per_second=RATE)
    endpoint("/quick")
    events = [happen(user_id, n=n) for n in range(RATE + 2)]
    other = Sender(boot.outbound(), threads=20)
    sender.run()
    assert len([request for request in receiver.requests() if request.path == "/quick"]) == len(events)

    def all_delivered() -> bool:
        other.run()
        sender.run()
        return {row.status for row in sql("select status from deliveries")} == {"delivered"}

    eventually("all are delivered", 60, all_delivered)
    slow = sorted(request.at for request in receiver.requests() if request.path == "/slow")
    assert len(slow) == len(events)
    assert sql("select max(tries) as most from deliveries")[0].most == 1
    turns = [
        row.at
        for row in sql("""
        select a.at from delivery_attempts a join deliveries d on d.id = a.delivery_id
          join webhook_endpoints w on w.id = d.endpoint_id and w.url like '%/slow' order by a.at""")
    ]
    assert (turns[-1] - turns[0]).total_seconds() >= 0.9 * (len(events) - 1) / RATE


def test_a_limit_is_a_whole_number(api: Api, receiver: Receiver) -> None:
    for wrong in (0, -1, 1.5, "2", 1001, True):
        api("POST", "/webhooks", 422, url=receiver.url, rate_limit_per_second=wrong)
    for payload in ("thick", None, ""):
        api("POST", "/webhooks", 422, url=receiver.url, payload=payload)
    made = api("POST", "/webhooks", 201, url=receiver.url, rate_limit_per_second=5)["data"]
    assert (made["rate_limit_per_second"], made["payload"], made["headers"]) == (5, "full", {})
    path = f"/webhooks/{made['id']}"
    changed = api("PATCH", path, 200, rate_limit_per_second=None, payload="thin")["data"]
    assert (changed["rate_limit_per_second"], changed["payload"]) == (None, "thin")


def test_an_endpoint_of_an_older_process_is_served_as_any_other(user_id: UUID) -> None:
    """Code that does not know the columns leaves them out."""
    columns, values = "id, user_id, url, events, secret", ":id, :user, 'http://127.0.0.1/', :events, 'x'"
    named = {"id": clock.uuid7(), "user": user_id, "events": ["budget.threshold"]}
    sql(f"insert into webhook_endpoints ({columns}) values ({values})", **named)
    happen(user_id)
    happen(make_user())
    claim = claimed()
    assert (claim.paced, claim.thin, claim.headers) == (False, False, None)
