"""Compact JWS (RFC 7515) with Ed25519 (RFC 8037) over canonical JSON (RFC 8785): equal claims, equal bytes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from common.kit import jcs

ALGORITHM: Final = "EdDSA"
_JWS: Final = jwt.PyJWS(algorithms=[ALGORITHM])


class BadSignature(Exception):
    """This is not a document of that type that one of our keys signed."""


def encode(key: Ed25519PrivateKey, kid: str, typ: str, claims: Mapping[str, object]) -> str:
    """The claims, signed. Raises `jcs.NotCanonical`."""
    return _JWS.encode(jcs.canonical(claims), key, algorithm=ALGORITHM, headers={"kid": kid, "typ": typ})


def decode(token: str, typ: str, key_of: Callable[[str], Ed25519PublicKey | None]) -> dict[str, object]:
    """The claims of a document of this type, once its signature is verified. Raises `BadSignature`."""
    try:
        header = jwt.get_unverified_header(token)
        kid = header.get("kid")
        key = key_of(kid) if isinstance(kid, str) and header.get("typ") == typ else None
        if key is None:
            raise BadSignature("it is of another type, or signed with a key that is not known")
        claims: dict[str, object] = json.loads(_JWS.decode(token, key, algorithms=[ALGORITHM]))
    except jwt.InvalidTokenError as error:
        raise BadSignature(str(error)) from error
    return claims


def claims_of(token: str) -> dict[str, object]:
    """The claims of a document of our own, whose signature need not be verified."""
    claims: dict[str, object] = json.loads(_raw(token.split(".")[1]))
    return claims


def public_part(key: Ed25519PrivateKey) -> str:
    """The public key in URL-safe base64: `x` of its JWK."""
    return _text(key.public_key().public_bytes_raw())


def public_key(text: str) -> Ed25519PublicKey:
    """The public key of an `x`."""
    return Ed25519PublicKey.from_public_bytes(_raw(text))


def jwk(text: str) -> dict[str, object]:
    """The members of a JWK that identify the key with this `x`."""
    return {"crv": "Ed25519", "kty": "OKP", "x": text}


def thumbprint(text: str) -> str:
    """The RFC 7638 thumbprint of the key with this `x`."""
    return _text(hashlib.sha256(jcs.canonical(jwk(text))).digest())


def _raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
