"""What happens to an invocation is told by webhooks and by the feed, as it was at the event."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks import Webhook

from common import boot, invocations, webhooks
from common.invocations import ClaimOptions
from common.kit import jsonb
from tests import factories
from tests.factories import BAD, GOOD, Customer
from tests.outside.receiver import Receiver
from tests.outside.server import Request
from tests.webhooks.conftest import api_of, headers, settled, sql
from worker.delivery import Sender

EVERYTHING = [f"invocation.{what}" for what in ("queued", "running", "succeeded", "failed", "canceled", "expired")]


@pytest.fixture
def customer(db: None) -> Customer:
    return factories.customer()


@pytest.fixture
def claim_options(db: None) -> ClaimOptions:
    return factories.worker()


def hear(customer: Customer, receiver: Receiver, path: str, events: list[str]) -> webhooks.CreatedEndpoint:
    return webhooks.create(customer.user_id, boot.outbound(), url=f"{receiver.url}{path}", events=events)


def told(requests: list[Request]) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in requests]


def test_each_change_is_told_as_it_was(
    customer: Customer, claim_options: ClaimOptions, receiver: Receiver, sender: Sender
) -> None:
    hear(customer, receiver, "/all", EVERYTHING)
    invocation_id = customer.submit(factories.tool(), input={"text": "Grüße"}, request_id="req-7")
    invocations.complete(factories.taken(claim_options), GOOD, ClaimOptions(claim_options.worker, take_next=False))
    sender.run()  # all is over by now: the events say how it was

    requests = receiver.requests("/all")
    bodies = {body["type"]: body["data"] for body in told(requests)}
    assert set(bodies) == {"invocation.queued", "invocation.running", "invocation.succeeded"}
    assert {data["id"] for data in bodies.values()} == {str(invocation_id)}
    assert {name: data["status"] for name, data in bodies.items()} == {
        f"invocation.{status}": status for status in ("queued", "running", "succeeded")
    }
    assert [bodies[f"invocation.{s}"]["attempts"] for s in ("queued", "running", "succeeded")] == [0, 1, 1]
    assert bodies["invocation.queued"]["finished_at"] is None
    assert bodies["invocation.queued"]["output"] is None
    assert bodies["invocation.succeeded"]["output"] == {"ok": True}
    assert bodies["invocation.succeeded"] == json.loads(
        jsonb.encoded(invocations.represent(invocations.get(invocation_id, customer.user_id)))
    )
    assert {headers(request)["x-request-id"] for request in requests} == {"req-7"}


def test_n_matching_endpoints_are_n_deliveries(
    customer: Customer, claim_options: ClaimOptions, receiver: Receiver, sender: Sender
) -> None:
    wants = {
        "/completed": ["completed"],
        "/type": ["invocation.succeeded"],
        "/both": ["completed", "invocation.succeeded", "invocation.queued"],
        "/failed": ["invocation.failed"],
        "/budget": ["budget.threshold"],
    }
    for path, events in wants.items():
        hear(customer, receiver, path, events)
    off = hear(customer, receiver, "/off", ["completed"])
    webhooks.change(customer.user_id, off.endpoint.id, boot.outbound(), status="disabled")
    hear(factories.customer(), receiver, "/stranger", EVERYTHING)
    customer.submit(factories.tool(), webhook_url=f"{receiver.url}/call")
    invocations.complete(factories.taken(claim_options), GOOD, ClaimOptions(claim_options.worker, take_next=False))
    sender.run()
    assert sorted((request.path, body["type"]) for request, body in zip(
        receiver.requests(), told(receiver.requests()), strict=True
    )) == [
        ("/both", "invocation.queued"),
        ("/both", "invocation.succeeded"),
        ("/call", "invocation.succeeded"),
        ("/completed", "invocation.succeeded"),
        ("/type", "invocation.succeeded"),
    ]  # fmt: skip


def test_a_url_of_the_call_hears_what_it_asked_for(
    customer: Customer, claim_options: ClaimOptions, receiver: Receiver, sender: Sender
) -> None:
    asked = ("invocation.running", "invocation.failed")
    customer.submit(factories.tool(), webhook_url=f"{receiver.url}/call", webhook_events=asked)
    invocations.complete(factories.taken(claim_options), BAD, ClaimOptions(claim_options.worker, take_next=False))
    sender.run()
    requests = receiver.requests("/call")
    assert sorted(body["type"] for body in told(requests)) == ["invocation.failed", "invocation.running"]
    secret = webhooks.default_secret(customer.user_id).open()
    for request in requests:
        Webhook(secret).verify(request.body, headers(request))


def test_a_canceled_one_is_told(customer: Customer, receiver: Receiver, sender: Sender) -> None:
    hear(customer, receiver, "/hook", ["completed"])
    invocation_id = customer.submit(factories.tool())
    invocations.cancel(customer.caller, invocation_id)
    sender.run()
    [body] = told(receiver.requests())
    assert (body["type"], body["data"]["status"], body["data"]["billing"]["charged"]) == (
        "invocation.canceled",
        "canceled",
        0,
    )


def test_the_feed_tells_the_same_in_the_order_in_which_it_happened(
    customer: Customer, claim_options: ClaimOptions, receiver: Receiver, sender: Sender, _web: str
) -> None:
    hear(customer, receiver, "/all", EVERYTHING)
    customer.submit(factories.tool())
    invocations.complete(factories.taken(claim_options), GOOD, ClaimOptions(claim_options.worker, take_next=False))
    sender.run()
    settled()
    feed = api_of(_web, customer.user_id)("GET", "/events", 200)["data"]
    assert [event["type"] for event in feed] == ["invocation.queued", "invocation.running", "invocation.succeeded"]
    pushed = {
        headers(request)["webhook-id"]: body
        for request, body in zip(receiver.requests(), told(receiver.requests()), strict=True)
    }
    for event in [*feed, *pushed.values()]:
        del event["data"]["poll_after_ms"]  # advice for who reads now, not a part of what happened
    assert {event.pop("id"): event for event in feed} == pushed


def test_an_end_that_is_rolled_back_is_not_told(
    customer: Customer, claim_options: ClaimOptions, receiver: Receiver
) -> None:
    hear(customer, receiver, "/hook", ["completed"])
    customer.submit(factories.tool())
    task = factories.taken(claim_options)
    sql("update queue set token = uuid7()")
    invocations.complete(task, GOOD, ClaimOptions(claim_options.worker, take_next=False))
    assert sql("select 1 from deliveries") == []
    types: list[UUID] = [row.type for row in sql("select type from events order by id")]
    assert types == ["invocation.queued", "invocation.running"]
