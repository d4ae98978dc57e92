"""Secrets at rest: each purpose has its own keys, derived by HKDF (RFC 5869) from `SECRETS_KEYS`.

Encryption is Fernet with key rotation: the first key encrypts, all keys decrypt. Fernet has no associated data, so the
owner is part of the plaintext and checked on decryption: a ciphertext copied to another row is rejected.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

#: How many plaintexts `opened` remembers.
REMEMBERED: Final = 1_024


class Undecryptable(Exception):
    """None of the configured keys decrypts this value, or it was encrypted for another owner."""


class _CryptoState:
    keys: tuple[str, ...] = ()


def configure(keys: Sequence[str]) -> None:
    """Set this process's `SECRETS_KEYS`, newest first."""
    _CryptoState.keys = tuple(keys)
    _box.cache_clear()
    derive.cache_clear()
    opened.cache_clear()


@cache
def derive(purpose: str, index: int = 0) -> bytes:
    """A 32-byte key for one purpose, derived from the key at `index` (0 = newest)."""
    if not _CryptoState.keys:
        raise RuntimeError("common.boot.connect(settings) has not been called in this process")
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"joyfull-hub/" + purpose.encode())
    return hkdf.derive(_CryptoState.keys[index].encode())


@cache
def _box(purpose: str) -> MultiFernet:
    keys = [derive(purpose, index) for index in range(len(_CryptoState.keys))]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])


def encrypt(purpose: str, owner: str, secret: str) -> str:
    """Encrypt `secret` for `owner` (an id) under the newest key of `purpose`."""
    return _box(purpose).encrypt(f"{owner}\n{secret}".encode()).decode()


def decrypt(purpose: str, owner: str, encrypted: str) -> str:
    """The secret encrypted by `encrypt`. Raises `Undecryptable`."""
    try:
        found, _, secret = _box(purpose).decrypt(encrypted.encode()).decode().partition("\n")
    except InvalidToken as error:
        raise Undecryptable("no key in SECRETS_KEYS decrypts this secret") from error
    if not hmac.compare_digest(found, owner):
        raise Undecryptable("this secret was encrypted for another owner")
    return secret


@lru_cache(REMEMBERED)
def opened(purpose: str, owner: str, encrypted: str) -> str:
    """As `decrypt`, for what is used again and again: the last `REMEMBERED` plaintexts stay in this process's memory.

    The same memory has the keys, which decrypt every stored secret, and each secret is there whenever it is used. More
    is lost only if the memory alone gets out, without the database. A rotated secret is another ciphertext, so it is
    never answered with the one before. Raises `Undecryptable`, which is not remembered.
    """
    return decrypt(purpose, owner, encrypted)


def reencrypt(purpose: str, owner: str, encrypted: str) -> str:
    """The same secret encrypted under the newest key, for key rotation. Raises `Undecryptable`."""
    return encrypt(purpose, owner, decrypt(purpose, owner, encrypted))


def digest(token: str) -> str:
    """SHA-256 in hex, for storing high-entropy tokens (ASVS 5.0 V6.5.2). Not for passwords."""
    return hashlib.sha256(token.encode()).hexdigest()


def token(nbytes: int = 32) -> str:
    """A URL-safe random token of `nbytes` bytes of entropy."""
    return secrets.token_urlsafe(nbytes)


def sign(purpose: str, subject: str, text: str) -> str:
    """`text` with a MAC that binds it to `subject`, for storage where others can write."""
    return f"{macs(purpose, f'{subject} {text}')[0]} {text}"


def verified(purpose: str, subject: str, signed: str) -> str | None:
    """The text signed by `sign` for this subject under any of our keys; None if the MAC does not match."""
    mac, _, text = signed.partition(" ")
    ours = macs(purpose, f"{subject} {text}")
    return text if any(hmac.compare_digest(each.encode(), mac.encode()) for each in ours) else None


def macs(purpose: str, message: str) -> list[str]:
    """HMAC-SHA256 of `message` under every key of `purpose`, newest first, in URL-safe base64."""
    digests = [hmac.digest(derive(purpose, i), message.encode(), "sha256") for i in range(len(_CryptoState.keys))]
    return [base64.urlsafe_b64encode(digest).rstrip(b"=").decode() for digest in digests]
