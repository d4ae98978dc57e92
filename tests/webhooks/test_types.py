"""Types of events: a line in a list, and nothing else has to know them."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError

from common import boot, webhooks
from common.kit import db
from common.models.webhooks import EVENTS
from tests.outside.receiver import Receiver
from tests.webhooks.conftest import Api, Endpoint, pass_time, settled, sql
from worker.delivery import Sender


def test_an_endpoint_may_ask_for_every_type_and_be_sent_it(
    api: Api, user_id: UUID, receiver: Receiver, sender: Sender
) -> None:
    api("POST", "/webhooks", 201, url=f"{receiver.url}/hook", events=[*EVENTS])
    for kind in EVENTS:
        with db.transaction() as session:
            webhooks.record(session, user_id, kind, {"of": kind})
    sender.run()
    assert sorted(json.loads(request.body)["type"] for request in receiver.requests()) == sorted(EVENTS)
    settled()
    assert [event["type"] for event in api("GET", "/events?limit=100", 200)["data"]] == [*EVENTS]
    for kind in EVENTS:
        [event] = api("GET", f"/events?type={kind}", 200)["data"]
        assert event["type"] == kind


def test_the_database_takes_a_type_that_this_code_does_not_know(user_id: UUID) -> None:
    """A newer process may write it; what has no form of a type is a mistake."""
    with db.transaction() as session:
        webhooks.record(session, user_id, "galaxy.reached", {})
    with pytest.raises(IntegrityError), db.transaction() as session:
        webhooks.record(session, user_id, "nonsense", {})
    assert [row.type for row in sql("select type from events")] == ["galaxy.reached"]


@pytest.mark.parametrize("reason", ["gone", "failing"])
def test_the_other_endpoints_hear_that_one_was_disabled(
    endpoint: Endpoint, receiver: Receiver, sender: Sender, user_id: UUID, reason: str
) -> None:
    told = endpoint("/told", events=["webhook.disabled"])
    deaf = endpoint("/deaf", events=["budget.threshold", "webhook.disabled"])
    endpoint("/other", events=["budget.threshold"])
    receiver.always("/deaf", 410 if reason == "gone" else 500)
    with db.transaction() as session:
        webhooks.record(session, user_id, "budget.threshold", {})
    sender.run()
    if reason == "failing":
        assert sql("select 1 from events where type = 'webhook.disabled'") == []
        pass_time("6 days")
        assert webhooks.disable_failing() == 1
        assert webhooks.disable_failing() == 0
    sender.run()
    [heard] = [request for request in receiver.requests() if request.path == "/told"]
    body = json.loads(heard.body)
    assert body == {
        "type": "webhook.disabled",
        "timestamp": body["timestamp"],
        "data": {"endpoint_id": str(deaf.endpoint.id), "url": f"{receiver.url}/deaf", "disabled_reason": reason},
    }
    assert webhooks.endpoint(user_id, deaf.endpoint.id).disabled_reason == reason
    assert len(sql("select 1 from events where type = 'webhook.disabled'")) == 1
    told_of = "select 1 from deliveries d join events e on e.id = d.event_id where e.type = 'webhook.disabled'"
    assert len(sql(told_of)) == 1, "not to the one that was disabled"
    webhooks.change(user_id, told.endpoint.id, boot.outbound(), status="disabled")
    assert len(sql("select 1 from events where type = 'webhook.disabled'")) == 1, "not when the owner does it"
