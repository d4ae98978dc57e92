"""E-mail addresses: syntax only (RFC 5321, 6531), without DNS look-ups; compared in NFC and lower case.

Lower case, not case folding: folding would make `straße@` and `strasse@` the same address, so that the first to
register would lock the other out.
"""

from __future__ import annotations

from dataclasses import dataclass

import email_validator

from common.errors import FieldError, Invalid
from common.kit.nfc import nfc

# Reserved names (`.test`, `.local`, …) are allowed: they are used inside companies and on developers' machines.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


@dataclass(frozen=True, slots=True)
class Address:
    """`text` as it was given (in NFC), and `key`, the form for comparison."""

    text: str
    key: str


def parse(text: str, pointer: str = "/email") -> Address:
    """Parse an address. Raises `Invalid` for the field at `pointer`."""
    try:
        normal = _validated(text)
    except email_validator.EmailNotValidError as error:
        raise Invalid("The e-mail address is not valid.", errors=[FieldError(pointer, str(error))]) from error
    return Address(nfc(text), _folded(normal))


def key(text: str) -> str:
    """The comparison key of user input; for text that is not an address, a key that matches no account."""
    try:
        return _folded(_validated(text))
    except email_validator.EmailNotValidError:
        return _folded(text)


def _validated(text: str) -> str:
    """The address, its domain normalised to lower case and Unicode."""
    found = email_validator.validate_email(
        text, strict=True, check_deliverability=False, globally_deliverable=not text.lower().endswith("@localhost")
    )
    return found.normalized


def _folded(text: str) -> str:
    return nfc(nfc(text).lower())
