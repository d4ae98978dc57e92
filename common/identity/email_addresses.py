"""E-mail addresses: syntax only (RFC 5321, 6531), nobody asks the DNS; compared in NFC without regard to case.

In lower case, that is, not case-folded: that would make one person of `straße@` and `strasse@`, and whoever comes first
would keep the other out for ever.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import email_validator

from common.errors import FieldError, Invalid

# Reserved names (`.test`, `.local`, …) are fine inside a company and on a developer's machine.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


@dataclass(frozen=True, slots=True)
class Address:
    """`text` as it was given (NFC), `key` as it is compared."""

    text: str
    key: str


def parse(text: str, pointer: str = "/email") -> Address:
    """The address. Raises `Invalid`, pointing at the field it came in."""
    try:
        normal = _validated(text)
    except email_validator.EmailNotValidError as error:
        raise Invalid("The address is not valid.", errors=[FieldError(pointer, str(error))]) from error
    return Address(unicodedata.normalize("NFC", text), _folded(normal))


def key(text: str) -> str:
    """How an address that somebody types is looked up: text that is none simply matches nobody."""
    try:
        return _folded(_validated(text))
    except email_validator.EmailNotValidError:
        return _folded(text)


def _validated(text: str) -> str:
    """The address with its domain in lower case and in Unicode, whichever way it was written."""
    found = email_validator.validate_email(
        text, strict=True, check_deliverability=False, globally_deliverable=not text.lower().endswith("@localhost")
    )
    return found.normalized


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
