"""Receiving webhooks: agrees with the reference library, both ways."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from joyfull import SignatureError, models, webhooks
from tests.clients.scripted import invocation

SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 24).decode()
BODY = json.dumps({"type": "invocation.succeeded", "timestamp": "2026-11-29T07:00:00Z", "data": invocation()})
keys = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())
bodies = st.dictionaries(st.text(), st.text() | st.integers()).map(lambda body: json.dumps(body, ensure_ascii=False))
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1)


@given(keys, bodies, names)
def test_the_reference_library_agrees_both_ways(secret: str, body: str, name: str) -> None:
    Webhook(secret).verify(body, webhooks.sign(body, secret, id=name))
    now = datetime.now(UTC)
    signature = Webhook(secret).sign(name, now, body)
    headers = {"Webhook-Id": name, "Webhook-Timestamp": str(int(now.timestamp())), "WEBHOOK-SIGNATURE": signature}
    webhooks.verify(body, headers, secret)
    webhooks.verify(body.encode(), headers, [OTHER, secret])
    with pytest.raises(SignatureError, match="no signature matches"):
        webhooks.verify(body + " ", headers, secret)


def test_during_a_rotation_one_of_several_signatures_and_secrets_is_enough() -> None:
    headers = webhooks.sign(BODY, SECRET, id="e1")
    both = f"v1a,xyz {webhooks.sign(BODY, OTHER, id='e1')['webhook-signature']} {headers['webhook-signature']}"
    webhooks.verify(BODY, {**headers, "webhook-signature": both}, SECRET)
    with pytest.raises(SignatureError):
        webhooks.verify(BODY, {**headers, "webhook-signature": "v1a,xyz"}, SECRET)


@pytest.mark.parametrize("age", [-301, 301])
def test_a_time_outside_the_tolerance_is_refused(age: int) -> None:
    headers = webhooks.sign(BODY, SECRET, id="e1", timestamp=datetime.now(UTC) - timedelta(seconds=age))
    with pytest.raises(SignatureError, match="outside the tolerance"):
        webhooks.verify(BODY, headers, SECRET)
    webhooks.verify(BODY, headers, SECRET, tolerance=600)


@pytest.mark.parametrize("timestamp", ["", "-1", "nan", "1e400", "²", "9" * 400])
def test_a_time_that_is_none_is_refused(timestamp: str) -> None:
    headers = {**webhooks.sign(BODY, SECRET, id="e1"), "webhook-timestamp": timestamp}
    with pytest.raises(SignatureError):
        webhooks.verify(BODY, headers, SECRET)


def test_a_missing_header_and_a_secret_that_is_none_are_named() -> None:
    with pytest.raises(SignatureError, match="webhook-id"):
        webhooks.verify(BODY, {}, SECRET)
    with pytest.raises(SignatureError, match="whsec_"):
        webhooks.verify(BODY, webhooks.sign(BODY, SECRET, id="e1"), "whsec_é")


def test_unwrap_knows_the_data_of_each_type() -> None:
    def unwrapped(kind: str, data: object) -> models.Event:
        body = json.dumps({"type": kind, "timestamp": "2026-11-29T07:00:00Z", "data": data})
        return webhooks.unwrap(body, webhooks.sign(body, SECRET, id="e1"), SECRET)

    event = unwrapped("invocation.succeeded", invocation())
    assert isinstance(event, models.InvocationEvent)
    assert (event.id, event.data.status, event.data.billing.charged) == ("e1", "succeeded", 1)
    thin = unwrapped("invocation.failed", {"id": "01", "status": "failed", "links": {}})
    assert isinstance(thin, models.ThinInvocationEvent)
    threshold = unwrapped("budget.threshold", {"percent": 80, "granted": 10, "charged": 8, "period_id": "01"})
    assert threshold.type == "budget.threshold"
    assert threshold.data.percent == 80
    unknown = unwrapped("of.the.future", {"a": 1})
    assert isinstance(unknown, models.UnknownEvent)
    assert (unknown.name, unknown.data) == ("of.the.future", {"a": 1})
