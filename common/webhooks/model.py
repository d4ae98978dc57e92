"""The frozen values that are passed around: an event, a claim on a delivery, one attempt and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from common.kit import crypto

GONE = 410
#: These say when to come back (RFC 9110 §15.6.4, RFC 6585 §4).
BUSY = (429, 503)


@dataclass(frozen=True, slots=True)
class Event:
    """One fact. `data` None: it is the invocation at the state that `type` and `attempts` tell (`event_data`)."""

    id: UUID
    user_id: UUID
    type: str
    invocation_id: UUID | None
    data: Mapping[str, Any] | None
    attempts: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A signing secret at rest, and whose it is: an endpoint's, or an account's."""

    owner: UUID
    ciphertext: str

    def open(self) -> str:
        """The secret in clear, at the moment of signing only. Raises `crypto.Undecryptable`."""
        return crypto.decrypt("webhook", str(self.owner), self.ciphertext)


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery in this process's hands until its lease ends: everything written about it is fenced by `token`.

    `url` None: the receiver was deleted or disabled meanwhile. `tries` counts this one, from 1. `lane` names who must
    not be kept busy beyond measure; `failing`: its last deliveries did not arrive; `more`: others were due as well.
    """

    id: UUID
    token: UUID
    lane: int
    tries: int
    url: str | None
    secrets: Sequence[Encrypted]
    event: Event
    failing: bool = False
    more: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One POST. `error` is None after a success, else a sentence for the receiver's owner."""

    at: datetime
    duration_ms: int
    http_status: int | None = None
    error: str | None = None
    response_excerpt: str | None = None
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def gone(self) -> bool:
        return self.http_status == GONE
