"""Receipts over HTTP: the same bytes each time, whatever happens to what they speak of, and keys that stay public."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import jwt
import pytest
from sqlalchemy import text

from common import boot, invocations, webhooks
from common.identity import signatures
from common.identity.audit import OPERATOR
from common.invocations import Completion, receipts
from common.kit import crypto, db
from common.operations import key_rotation
from common.tools import ListedTool, editing
from examples import verify_receipt
from tests import factories
from tests.outside.receiver import Receiver
from tests.plain import plain
from tests.runs.conftest import Api, Json
from web.cli import GROUPS
from worker.delivery import Sender

PRICE = {"base_tokens": 2, "per_unit": {"pointer": "/n", "tokens": 0.3, "unit": "x"}, "max_tokens": 100}


def ended(api: Api, tool: ListedTool | None = None, how: Completion | None = None, **body: Any) -> str:
    """The id of an invocation that has ended, with the charge that its price makes of 11 units."""
    made = api.submit(tool or factories.tool(price=PRICE), **body)
    worker = replace(factories.worker(), take_next=False)
    good = Completion("succeeded", {"text": "ü", "n": 11.0}, 6, http_status=200, duration_ms=3, units=11)
    invocations.complete(factories.taken(worker), how or good, worker)
    return str(made["id"])


def receipt(api: Api, made: str) -> str:
    answer = api.call("GET", f"/invocations/{made}/receipt", headers={"Accept": "application/jose"})
    assert (answer.content_type, answer.headers["Vary"]) == ("application/jose", "Accept")
    return answer.text


def jwks(api: Api) -> Json:
    answer = api.http.get("/.well-known/jwks.json")
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    return dict(json.loads(answer.data))


def test_a_receipt_says_what_was_charged_and_why(api: Api) -> None:
    made = ended(api)
    shown, asked = api.shown({"id": made}), api.get(f"/invocations/{made}/receipt")
    claims = verify_receipt.verify(asked["receipt"], jwks(api))
    assert claims == asked["claims"]
    assert {name: claims[name] for name in ("held", "charged", "price", "units", "basis", "reason")} == {
        "held": 100, "charged": 6, "price": PRICE, "units": 11, "basis": "reported", "reason": None,
    }  # fmt: skip
    assert shown["billing"]["basis"] == "reported"
    period = plain(text("select id from periods"), {})[0].id
    assert (claims["iss"], claims["sub"], claims["jti"]) == (signatures.issuer(), str(api.customer.user_id), made)
    assert (claims["tool"], claims["status"]) == (
        {name: shown["tool"][name] for name in ("id", "slug", "version")}, "succeeded",
    )  # fmt: skip
    assert (claims["period"]["id"], claims["request_id"], claims["quote"]) == (str(period), shown["request_id"], None)
    verify_receipt.check_payload(claims, "input", "{}")
    verify_receipt.check_payload(claims, "output", '{"n": 11, "text": "\\u00fc"}')
    with pytest.raises(verify_receipt.NotVerified):
        verify_receipt.check_payload(claims, "output", '{"n": 12, "text": "\\u00fc"}')
    header = jwt.get_unverified_header(asked["receipt"])
    assert header == {"alg": "EdDSA", "typ": receipts.TYPE, "kid": jwks(api)["keys"][0]["kid"]}
    assert int(datetime.fromisoformat(shown["finished_at"]).timestamp()) == claims["iat"]


def test_it_is_the_same_bytes_whatever_happens_later(api: Api) -> None:
    tool = factories.tool(price=PRICE)
    made = ended(api, tool)
    first = receipt(api, made)
    renamed = editing.change(OPERATOR, tool.id, {"slug": "renamed", "name": "Renamed"})
    signatures.rotate(OPERATOR)
    assert invocations.drop_payloads_of(api.customer.user_id)
    assert api.shown({"id": made})["output"] is None
    assert api.get(f"/invocations/{made}/receipt")["receipt"] == receipt(api, made) == first
    assert verify_receipt.verify(first, jwks(api))["tool"]["slug"] == tool.slug
    late = ended(api, renamed)
    invocations.drop_payloads_of(api.customer.user_id)
    said = verify_receipt.verify(receipt(api, late), jwks(api))
    assert (said["tool"]["slug"], said["input_sha256"], said["output_sha256"]) == ("renamed", None, None)


def test_all_who_ask_first_at_once_get_the_same(api: Api) -> None:
    made, found = UUID(ended(api)), []
    threads = [threading.Thread(target=lambda: found.append(receipts.issue(made, None).receipt)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [row.n for row in plain(text("select count(*) as n from signing_keys"), {})] == [1]


@pytest.mark.parametrize(
    ("how", "charged", "reason"),
    [
        (factories.BAD, 0, "tool_failed"),
        (factories.TOO_DEAR, 100, "cost_exceeded"),
        (Completion("succeeded", None, 2), 2, None),
    ],
    ids=["failed", "cost exceeded", "without units"],
)
def test_every_end_has_one(api: Api, how: Completion, charged: int, reason: str | None) -> None:
    if how is factories.TOO_DEAR:
        how = replace(how, units=1_000)
    claims = verify_receipt.verify(receipt(api, ended(api, how=how)), jwks(api))
    assert (claims["charged"], claims["reason"]) == (charged, reason)
    assert claims["basis"] == ("reported" if charged else None)


def test_a_canceled_one_is_free_and_says_so(api: Api) -> None:
    made = api.submit(factories.tool(price=PRICE))["id"]
    refused = api.problem("GET", f"/invocations/{made}/receipt", 409)
    assert (refused["code"], refused["status"]) == ("conflict", 409)
    api.post(f"/invocations/{made}/cancel")
    claims = verify_receipt.verify(receipt(api, made), jwks(api))
    assert (claims["status"], claims["charged"], claims["basis"], claims["reason"]) == ("canceled", 0, None, "canceled")


def test_nobody_elses_can_be_read_before_it_is_issued_nor_after(api: Api) -> None:
    made, stranger = ended(api), api.of(factories.customer())
    for _ in range(2):
        assert stranger.problem("GET", f"/invocations/{made}/receipt", 404)["code"] == "not_found"
        receipt(api, made)


def test_numbers_beyond_a_double_have_no_hash(api: Api) -> None:
    made = ended(api, how=Completion("succeeded", {"n": 10**400}, 2))
    said = verify_receipt.verify(receipt(api, made), jwks(api))
    assert said["output_sha256"] is None
    assert said["input_sha256"] is not None


# -- keys ----------------------------------------------------------------------------------------------------------


def test_rotation_keeps_old_receipts_good_and_forgets_the_old_private_key(api: Api) -> None:
    before = receipt(api, ended(api))
    rotate = next(group for group in GROUPS if group.name == "receipts")
    result = api.http.application.test_cli_runner().invoke(rotate, ["rotate"])
    after = receipt(api, ended(api))
    keys = jwks(api)["keys"]
    assert result.exit_code == 0
    assert keys[0]["kid"] in result.output
    assert [set(key) for key in keys] == [
        {"kty", "crv", "x", "kid", "use", "alg"}, {"kty", "crv", "x", "kid", "use", "alg", "exp"},
    ]  # fmt: skip
    assert [jwt.get_unverified_header(each)["kid"] for each in (after, before)] == [key["kid"] for key in keys]
    for each in (before, after):
        assert verify_receipt.verify(each, {"keys": keys})["charged"] == 6
    stored = plain(text("select private_key is null as forgotten from signing_keys order by id"), {})
    assert [row.forgotten for row in stored] == [True, False]
    audited = plain(text("select action, target_id from audit_log where action like 'signing_key%'"), {})
    assert [(row.action, row.target_id) for row in audited] == [("signing_key.rotate", keys[0]["kid"])]


def test_nothing_is_signed_with_a_key_that_was_retired(api: Api) -> None:
    """A rotation waits for those who are signing; whoever comes after it finds the new key."""
    signatures.sign_only("x", {})
    with db.transaction() as session:
        old = jwt.get_unverified_header(signatures.sign(session, "x", {}))["kid"]
        rotation = threading.Thread(target=signatures.rotate, args=(OPERATOR,))
        rotation.start()
        rotation.join(0.3)
        assert rotation.is_alive()
        signed_at = plain(text("select clock_timestamp() as at"), {})[0].at
    rotation.join(30)
    assert not rotation.is_alive()
    retired = plain(text("select kid, retired_at from signing_keys where retired_at is not null"), {})
    assert [row.kid for row in retired] == [old]
    assert retired[0].retired_at > signed_at
    assert jwt.get_unverified_header(signatures.sign_only("x", {}))["kid"] != old


def test_private_keys_are_encrypted_and_rotate_with_the_other_secrets(api: Api) -> None:
    kid = signatures.rotate(OPERATOR)
    keys = crypto._CryptoState.keys
    stored = plain(text("select private_key from signing_keys where is_current"), {})[0].private_key
    assert stored.startswith("gAAAA")
    try:
        crypto.configure(("a new key " * 4, *keys))
        assert all(each.readable for each in key_rotation.rotate())
        crypto.configure(("a new key " * 4,))
        assert jwt.get_unverified_header(signatures.sign_only("x", {}))["kid"] == kid
        crypto.configure(("none of them " * 4,))
        made = ended(api)
        refused = api.problem("GET", f"/invocations/{made}/receipt", 503)
        assert refused["code"] == "dependency_unavailable"
        signatures.rotate(OPERATOR)
        assert verify_receipt.verify(receipt(api, made), jwks(api))["charged"] == 6
    finally:
        crypto.configure(keys)


def test_what_another_signed_or_another_type_is_not_read(api: Api) -> None:
    made = receipt(api, ended(api))
    assert signatures.read(made, receipts.TYPE)["charged"] == 6
    last = made[-1]
    other = {"A": "B", "Q": "R", "g": "h", "w": "x"}.get(last, "A")
    for wrong, typ in ((made, "JWT"), (made[:-1] + other, receipts.TYPE), ("x.y.z", receipts.TYPE)):
        with pytest.raises(signatures.BadSignature):
            signatures.read(wrong, typ)


# -- webhooks ------------------------------------------------------------------------------------------------------


def test_an_endpoint_that_asks_is_sent_the_receipt_with_each_end(api: Api, receiver: Receiver) -> None:
    asked: Json = {"include": ["receipt"]}
    for path, given in {"/with": asked, "/thin": {**asked, "payload": "thin"}, "/without": {}}.items():
        webhooks.create(api.customer.user_id, boot.outbound(), url=receiver.url + path, **given)
    run = ended(api)
    Sender(boot.outbound(), threads=4).run()
    told = {request.path: json.loads(request.body)["data"] for request in receiver.requests()}
    assert told["/with"]["billing"]["receipt"] == receipt(api, run)
    assert "receipt" not in told["/without"]["billing"]
    assert set(told["/thin"]) == {"id", "status", "links"}
    assert told["/with"]["billing"] == {**api.shown({"id": run})["billing"], "receipt": receipt(api, run)}


def test_a_webhook_is_sent_although_the_key_cannot_be_read(api: Api, receiver: Receiver) -> None:
    signatures.sign_only("x", {})
    webhooks.create(api.customer.user_id, boot.outbound(), url=receiver.url, include=["receipt"])
    plain(text("update signing_keys set private_key = 'damaged'"), {})
    ended(api)
    Sender(boot.outbound(), threads=4).run()
    assert [json.loads(request.body)["data"]["billing"]["receipt"] for request in receiver.requests()] == [None]


def test_what_can_be_included_is_said_and_checked(api: Api) -> None:
    for wrong in (["input"], ["receipt", "receipt"], "receipt", None):
        refused = api.problem("POST", "/webhooks", 422, json={"url": "http://127.0.0.1:9/", "include": wrong})
        assert refused["errors"][0]["pointer"].startswith("/include")
    url = {"url": "http://127.0.0.1:9/"}
    assert api.post("/webhooks", url, 201)["include"] == []
    made = api.post("/webhooks", {**url, "include": ["receipt"]}, 201)
    assert made["include"] == ["receipt"]
    changed = api.call("PATCH", f"/webhooks/{made['id']}", json={"include": []}).get_json()["data"]
    assert changed["include"] == []
