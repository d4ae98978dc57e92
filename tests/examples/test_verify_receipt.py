"""Receipts of random ends, checked with nothing of ours: the example, and PyJWT."""

from __future__ import annotations

import base64
import json
import random
import re
import string
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.identity.signatures import jws
from common.invocations import ENDS, Invocation
from common.invocations.receipts import TYPE
from common.invocations.receipts.claims import BookedRow, claims
from common.kit.clock import uuid7
from common.models.tools import PerUnit
from common.tools import Price
from examples import verify_receipt
from examples.verify_receipt import NotVerified

Json = Any
ENDED = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: The letters of URL-safe base64.
ALPHABET = f"{string.ascii_letters}{string.digits}-_"
TEXTS = ("", "a text", "Über 100 % 😀", '"\\\n')


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody who signs, and the keys that they publish."""

    key: Ed25519PrivateKey
    kid: str

    @classmethod
    def new(cls) -> Signer:
        key = Ed25519PrivateKey.generate()
        return cls(key, jws.thumbprint(jws.public_part(key)))

    def jwks(self, **more: Json) -> Json:
        return {"keys": [{**jws.jwk(jws.public_part(self.key)), "kid": self.kid, "alg": "EdDSA", **more}]}

    def sign(self, said: Json, typ: str = TYPE) -> str:
        return jws.encode(self.key, self.kid, typ, said)


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer.new()


def random_end(rng: random.Random) -> tuple[Invocation, Json, Json]:
    """An end as the platform would charge it, with its input and output."""
    unit: PerUnit = {"pointer": "/n", "unit": "x", "tokens": rng.choice([0, 1, 3, 0.1, 0.003, rng.random() * 5])}
    per_unit = rng.choice([None, unit])
    most = rng.choice([1, 10, 1_000, 2**53 - 1])
    price = Price(rng.randrange(min(most, 500) + 1), per_unit, most)
    held = rng.randint(min(price.least, most), most)
    status = rng.choice([*ENDS, "succeeded", "succeeded"])
    error = rng.choice(["tool_failed", "cost_exceeded"]) if status == "failed" else None
    charged, units = 0, None
    if status == "succeeded" or error == "cost_exceeded":
        units = (
            None if per_unit is None else rng.choice([0, rng.randrange(10**6), rng.random() * 10 ** rng.randrange(9)])
        )
        charged = price.charge(units, held)
    sent = {rng.choice(TEXTS): rng.random() * 10.0 ** rng.randrange(-9, 25), "n": [rng.randrange(10**18), None, True]}
    output = {"text": rng.choice(TEXTS), "ratio": rng.random()} if status == "succeeded" else None
    return (
        Invocation(
            id=uuid7(),
            user_id=uuid7(),
            status=status,
            tool_id=uuid7(),
            tool_slug="a-tool",
            tool_name="A tool",
            tool_version=rng.randrange(1, 9),
            input=json.dumps(sent),
            output=None if output is None else json.dumps(output),
            error_code=error,
            error_detail=None,
            metadata={},
            attempts=1,
            held=held,
            charged=charged,
            request_id="r",
            created_at=ENDED,
            started_at=ENDED,
            finished_at=ENDED,
            expires_at=ENDED,
            cancel_requested_at=None,
            price=price,
            units=None if units is None else Decimal(str(units)),
        ),
        sent,
        output,
    )


def said_of(end: Invocation) -> Json:
    return claims(end, ENDED, BookedRow(uuid7(), ENDED, ENDED, None))


def changed(document: str, rng: random.Random) -> str:
    """The document with one byte of it changed to another."""
    place = rng.randrange(len(document))
    other = rng.choice([letter for letter in map(chr, range(33, 127)) if letter != document[place]])
    return document[:place] + other + document[place + 1 :]


def test_a_thousand_random_ends_verify_with_two_libraries_and_a_changed_byte_never_does(signer: Signer) -> None:
    rng, jwks = random.Random(8785), signer.jwks()
    key = jwt.PyJWK(jwks["keys"][0])
    for _ in range(1_000):
        end, sent, output = random_end(rng)
        receipt = signer.sign(said_of(end))
        found = verify_receipt.verify(receipt, jwks)
        assert found == jwt.decode(receipt, key, algorithms=["EdDSA"])
        assert (found["jti"], found["charged"]) == (str(end.id), end.charged)
        verify_receipt.check_payload(found, "input", json.dumps(sent))
        if output is not None:
            verify_receipt.check_payload(found, "output", json.dumps(output))
        with pytest.raises(NotVerified):
            verify_receipt.verify(changed(receipt, rng), jwks)
        signed, _, signature = receipt.rpartition(".")
        with pytest.raises(jwt.InvalidTokenError):
            jwt.decode(f"{changed(signed, rng)}.{signature}", key, algorithms=["EdDSA"])


def test_no_byte_of_a_receipt_can_be_changed(signer: Signer) -> None:
    """Every one of them: the last letter of the signature too, which has bits that mean nothing."""
    rng, jwks = random.Random(7515), signer.jwks()
    receipt = signer.sign(said_of(random_end(rng)[0]))
    for place, was in enumerate(receipt):
        others = ALPHABET if place == len(receipt) - 1 else "Aw"
        for other in {*others, "=", "."} - {was}:
            with pytest.raises(NotVerified):
                verify_receipt.verify(receipt[:place] + other + receipt[place + 1 :], jwks)


def test_a_wrong_charge_is_found_although_it_is_signed(signer: Signer) -> None:
    per_unit = {"pointer": "/n", "tokens": 0.3, "unit": "x"}
    price = {"base_tokens": 2, "per_unit": per_unit, "max_tokens": 100}
    right = {"iat": 1, "basis": "reported", "price": price, "units": 11, "held": 100, "charged": 6}
    assert verify_receipt.verify(signer.sign(right), signer.jwks()) == right
    for wrong in ({"charged": 5}, {"charged": 7}, {"units": 10}, {"held": 5}, {"basis": None}):
        with pytest.raises(NotVerified, match="price"):
            verify_receipt.verify(signer.sign({**right, **wrong}), signer.jwks())


@pytest.mark.parametrize("why", ["another key", "unknown key", "retired", "another type", "not signed", "none", "text"])
def test_what_is_not_a_receipt_is_refused(signer: Signer, why: str) -> None:
    said, other = said_of(random_end(random.Random(1))[0]), Signer.new()
    receipt, jwks = signer.sign(said), signer.jwks()
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    receipt, jwks = {
        "another key": (receipt, {"keys": [{**other.jwks()["keys"][0], "kid": signer.kid}]}),
        "unknown key": (receipt, other.jwks()),
        "retired": (receipt, signer.jwks(exp=int(ENDED.timestamp()) - 1)),
        "another type": (signer.sign(said, "JWT"), jwks),
        "not signed": (receipt.rpartition(".")[0] + ".", jwks),
        "none": (f"{unsigned}.{receipt.split('.')[1]}.", jwks),
        "text": ("no receipt at all", jwks),
    }[why]
    with pytest.raises(NotVerified):
        verify_receipt.verify(receipt, jwks)


def test_a_retired_key_verifies_what_ended_before(signer: Signer) -> None:
    receipt = signer.sign(said_of(random_end(random.Random(2))[0]))
    assert verify_receipt.verify(receipt, signer.jwks(exp=int(ENDED.timestamp())))["status"] in ENDS


def test_the_command_says_what_is_wrong(signer: Signer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    end, sent, _ = random_end(random.Random(3))
    files = {"receipt.jws": signer.sign(said_of(end)) + "\n", "jwks.json": json.dumps(signer.jwks())}
    files |= {"input.json": json.dumps(sent, indent=4), "other.json": json.dumps({**sent, "n": 1})}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [str(tmp_path / "receipt.jws"), "--jwks", str(tmp_path / "jwks.json"), "--input"]
    assert verify_receipt.main([*command, str(tmp_path / "input.json")]) == 0
    assert json.loads(capsys.readouterr().out)["jti"] == str(end.id)
    assert verify_receipt.main([*command, str(tmp_path / "other.json")]) == 1
    assert "the input is another" in capsys.readouterr().err


def test_the_page_shows_how_any_library_does_it(
    signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs/receipts.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    end = random_end(random.Random(4))[0]
    (tmp_path / "jwks.json").write_text(json.dumps(signer.jwks()))
    (tmp_path / "receipt.jws").write_text(signer.sign(said_of(end)) + "\n")
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert str(end.id) in capsys.readouterr().out
