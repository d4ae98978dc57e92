from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from common.kit import crypto
from common.settings import Settings
from common.webhooks import signing
from common.webhooks.model import Encrypted

ID = UUID("0190c0de-0000-7000-8000-000000000001")


def test_the_official_vector() -> None:
    """From the standard's own libraries (test_webhook.py, `test_sign_function`)."""
    made = signing.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_32_random_bytes() -> None:
    first, second = signing.new_secret(), signing.new_secret()
    assert first.startswith("whsec_")
    assert first != second
    assert len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) == 32


@pytest.mark.parametrize("body", [b"{}", '{"name":"Grüße, 世界 \\u0000"}'.encode()], ids=["ascii", "utf-8"])
def test_an_independent_verifier_accepts_it_and_nothing_altered(body: bytes) -> None:
    secret = signing.new_secret()
    headers = signing.sign([secret], ID, int(datetime.now(UTC).timestamp()), body)

    assert Webhook(secret).verify(body, headers) == json.loads(body)
    for name, altered in {
        "webhook-id": str(UUID(int=ID.int + 1)),
        "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1),
    }.items():
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, {**headers, name: altered})
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace(b"{", b"{ ", 1), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(body, headers)


def test_both_secrets_of_a_rotation_sign() -> None:
    new, old = signing.new_secret(), signing.new_secret()
    headers = signing.sign([new, old], ID, int(datetime.now(UTC).timestamp()), b"{}")
    assert [Webhook(secret).verify(b"{}", headers) for secret in (new, old)] == [{}, {}]


def test_an_old_message_is_refused_by_the_receiver() -> None:
    secret = signing.new_secret()
    old = datetime.now(UTC) - timedelta(minutes=6)
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(secret).verify(b"{}", signing.sign([secret], ID, int(old.timestamp()), b"{}"))


def test_a_remembered_secret_is_its_owners_under_the_keys_of_now(settings: Settings) -> None:
    try:
        crypto.configure(["old"])
        first, second = (crypto.encrypt("webhook", str(ID), secret) for secret in ("whsec_1", "whsec_2"))
        assert [Encrypted(ID, each).open() for each in (first, second, first)] == ["whsec_1", "whsec_2", "whsec_1"]
        for other in (Encrypted(UUID(int=1), first), Encrypted(ID, first, "webhook-headers")):
            with pytest.raises(crypto.Undecryptable):
                other.open()
        crypto.configure(["new"])
        with pytest.raises(crypto.Undecryptable):
            Encrypted(ID, first).open()
    finally:
        crypto.configure(settings.secrets_keys)
