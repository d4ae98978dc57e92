"""Hashes of inputs and outputs, for quotes and receipts. Large ones are made one at a time; accounts take turns.

Others run between pieces of one hash (`common/kit/jcs.py`); of many at once they would wait for a piece of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from common.errors import DependencyUnavailable
from common.invocations import overload
from common.kit import jcs, jsonb
from common.kit.fairness import FairTurns, NoTurn

#: The JSON text of a value that is hashed at once: a few milliseconds.
SMALL_BYTES: Final = 8 * 1024
#: How long (seconds) one waits for its turn.
WAIT_SECONDS: Final = 10.0

turns = FairTurns[UUID]()


def of_value(value: object, account: UUID) -> str | None:
    """The SHA-256 of the canonical JSON (RFC 8785) of an account's value, in hex.

    None where it has a number that no double can hold. Raises `DependencyUnavailable`: too many are being hashed.
    """
    with _turn(len(jsonb.encoded(value)), account):
        return jcs.sha256_or_none(value)


def of_text(text: str | None, account: UUID) -> str | None:
    """As `of_value`, of a stored JSON text; None where there is none."""
    if text is None:
        return None
    with _turn(len(text), account):
        return jcs.sha256_or_none(jsonb.parsed(text))


@contextmanager
def _turn(size: int, account: UUID) -> Iterator[None]:
    if size <= SMALL_BYTES:
        yield
        return
    try:
        with overload.aside(), turns.turn(account, WAIT_SECONDS):
            yield
    except NoTurn:
        raise DependencyUnavailable(
            "Too many large values of this account are being hashed. Nothing was done; retry.", retry_after=5
        ) from None
