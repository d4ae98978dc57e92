"""Check a receipt or a quote of the hub, offline: `python verify_receipt.py RECEIPT --jwks jwks.json`.

RECEIPT is a file, or `-` for standard input. `jwks.json` is what the hub serves at `/.well-known/jwks.json`; fetch it
once, over a connection that you trust. With `--input` and `--output`, files with JSON, their hashes are compared too.
Prints the claims and exits with 0 if everything is right, with 1 and the reason if not. Needs `cryptography` alone.

Checked are: the signature (EdDSA, RFC 8037), the type, that the key was not retired before the call ended, the hashes
(SHA-256 over RFC 8785), and of a receipt that `charged` follows from the price and the units, rounded up and capped by
what was held.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

RECEIPT = "joyfull-receipt+jwt"
QUOTE = "joyfull-quote+jwt"
#: Claims, keys and payloads: JSON.
Json = Any


class NotVerified(Exception):
    """The document is not what it says; the message says why."""


def verify(document: str, jwks: Json) -> Json:
    """The claims of a receipt or quote whose signature is good. Raises `NotVerified`."""
    try:
        head, body, signature = document.strip().split(".")
        header, claims = json.loads(_bytes(head)), json.loads(_bytes(body))
        key = _key(header, jwks)
        Ed25519PublicKey.from_public_bytes(_bytes(key["x"])).verify(_bytes(signature), f"{head}.{body}".encode())
    except InvalidSignature:
        raise NotVerified("the signature is wrong: the document was changed, or signed by somebody else") from None
    except (ValueError, KeyError, TypeError) as error:
        raise NotVerified(f"not a signed document: {error}") from None
    if "exp" in key and claims["iat"] > key["exp"]:
        raise NotVerified("the key was retired before: nothing can have been signed with it any more")
    if header["typ"] == RECEIPT:
        check_charge(claims)
    return claims


def _key(header: Json, jwks: Json) -> Json:
    if not isinstance(header, dict) or header.get("alg") != "EdDSA" or "crit" in header:
        raise NotVerified("it is not signed as receipts and quotes are")
    if header.get("typ") not in (RECEIPT, QUOTE):
        raise NotVerified("it is neither a receipt nor a quote")
    for key in jwks["keys"]:
        if key.get("kid") == header["kid"] and (key.get("kty"), key.get("crv")) == ("OKP", "Ed25519"):
            return key
    raise NotVerified("its key is not in the key set; fetch the set again")


def check_charge(claims: Json) -> None:
    """Raises `NotVerified` unless `charged` follows from price, units and hold."""
    price, held, charged = claims["price"], claims["held"], claims["charged"]
    due = 0
    if claims["basis"] is not None:
        due, per_unit = price["base_tokens"], price["per_unit"]
        if per_unit is not None and claims["units"] is not None:
            extra = Decimal(str(per_unit["tokens"])) * Decimal(str(claims["units"]))
            due += int(extra.to_integral_value(ROUND_CEILING))
    if charged != min(due, held):
        raise NotVerified(f"{charged} were charged, but the price comes to {due} and {held} were held")


def check_payload(claims: Json, name: str, text: str) -> None:
    """Raises `NotVerified` unless this is the `input` or `output` that the claims have the hash of."""
    stated = claims.get(f"{name}_sha256")
    if stated is None:
        raise NotVerified(f"it has no hash of the {name}: that was not stored any more when it was issued")
    if hashlib.sha256(canonical(json.loads(text)).encode()).hexdigest() != stated:
        raise NotVerified(f"the {name} is another")


def canonical(value: Json) -> str:
    """Canonical JSON (RFC 8785)."""
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(name)}:{canonical(each)}" for name, each in members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return _number(float(value))


def _number(value: float) -> str:
    """As ECMAScript writes it: the shortest digits, and an exponent only below 1e-6 and from 1e21 on."""
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    point = len(text) + int(exponent)  # of the decimal point, counted from the first digit
    text = text.rstrip("0")
    if len(text) <= point <= 21:
        shown = text + "0" * (point - len(text))
    elif 0 < point <= 21:
        shown = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        shown = f"0.{'0' * -point}{text}"
    else:
        shown = text[0] + (f".{text[1:]}" if text[1:] else "") + f"e{point - 1:+d}"
    return f"{'-' if sign else ''}{shown}"


def _bytes(text: str) -> bytes:
    """URL-safe base64 without padding; no other spelling of the same bytes."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise ValueError("it is not in URL-safe base64")
    return data


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("document", help="a file with a receipt or quote, or -")
    parser.add_argument("--jwks", required=True, type=Path, help="a file with the hub's keys")
    parser.add_argument("--input", type=Path, help="a file with the JSON that was sent")
    parser.add_argument("--output", type=Path, help="a file with the JSON that came back")
    given = parser.parse_args(arguments)
    text = sys.stdin.read() if given.document == "-" else Path(given.document).read_text(encoding="utf-8")
    try:
        claims = verify(text, json.loads(given.jwks.read_text(encoding="utf-8")))
        for name in ("input", "output"):
            if (file := getattr(given, name)) is not None:
                check_payload(claims, name, file.read_text(encoding="utf-8"))
    except NotVerified as refusal:
        print(f"NOT VERIFIED: {refusal}", file=sys.stderr)
        return 1
    print(json.dumps(claims, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
