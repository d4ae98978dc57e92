"""Values: an event, a claimed delivery, and the result of an attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from common.kit import crypto

GONE = 410
#: Statuses whose Retry-After is honoured (RFC 9110 §15.6.4, RFC 6585 §4).
BUSY = (429, 503)


class EventColumns(Protocol):
    """A row that has an event in it, under these names."""

    @property
    def id(self) -> UUID: ...
    @property
    def user_id(self) -> UUID: ...
    @property
    def type(self) -> str: ...
    @property
    def invocation_id(self) -> UUID | None: ...
    @property
    def data(self) -> Mapping[str, object] | None: ...
    @property
    def attempts(self) -> int: ...
    @property
    def created_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """An event. `data` is None for an invocation's event: `event_data` rebuilds it from `type` and `attempts`."""

    id: UUID
    user_id: UUID
    type: str
    invocation_id: UUID | None
    data: Mapping[str, object] | None
    attempts: int
    created_at: datetime

    @classmethod
    def of(cls, row: EventColumns) -> OutboxEvent:
        """The event in a row."""
        return cls(row.id, row.user_id, row.type, row.invocation_id, row.data, row.attempts, row.created_at)


@dataclass(frozen=True, slots=True)
class Encrypted:
    """An encrypted value of an endpoint or account, `owner`: a signing secret, unless `purpose` is another."""

    owner: UUID
    ciphertext: str
    purpose: str = "webhook"

    def open(self) -> str:
        """Decrypt it; only for sending. Raises `crypto.Undecryptable`."""
        return crypto.opened(self.purpose, str(self.owner), self.ciphertext)


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery claimed by this process until its lease expires.

    Attributes:
        token: the fencing token of every write.
        lane: identifies the receiver for per-receiver concurrency limits.
        tries: attempts including this one.
        url: None when the endpoint was deleted or disabled in the meantime.
        failing: the endpoint's last deliveries failed.
        more: other deliveries were due as well.
        paced: the endpoint has a limit per second, in which this delivery needs a turn.
        thin: the endpoint wants references in place of invocations.
        receipt: the endpoint wants the signed receipt of what has ended.
        headers: to be sent along, as JSON.
        content: the row of `LaneCapacity.content`; empty: nothing was asked for.
    """

    id: UUID
    token: UUID
    lane: int
    tries: int
    url: str | None
    secrets: Sequence[Encrypted]
    event: OutboxEvent
    failing: bool = False
    more: bool = False
    paced: bool = False
    thin: bool = False
    receipt: bool = False
    headers: Encrypted | None = None
    content: tuple[object, ...] = ()


class DeliveryRow(NamedTuple):
    """A claimed delivery with its event, its endpoint and the secrets to sign with."""

    claim: UUID
    token: UUID
    lane: int
    tries: int
    endpoint_id: UUID | None
    url: str | None
    secret: str | None
    previous_secret: str | None
    failing: bool
    paced: bool
    thin: bool
    receipt: bool
    headers: str | None
    id: UUID
    user_id: UUID
    type: str
    invocation_id: UUID | None
    data: Mapping[str, object] | None
    attempts: int
    created_at: datetime
    more: bool

    def as_claim(self, content: tuple[object, ...] = ()) -> Claim:
        """The claim that this row is."""
        owner = self.endpoint_id or self.user_id
        return Claim(
            self.claim,
            self.token,
            self.lane,
            self.tries,
            self.url,
            tuple(Encrypted(owner, each) for each in (self.secret, self.previous_secret) if each),
            OutboxEvent.of(self),
            failing=self.failing,
            more=self.more,
            paced=self.paced,
            thin=self.thin,
            receipt=self.receipt,
            headers=Encrypted(owner, self.headers, "webhook-headers") if self.headers else None,
            content=content,
        )


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of one POST. `error`: None on success, else a sentence for the endpoint's owner."""

    at: datetime
    duration_ms: int
    http_status: int | None = None
    error: str | None = None
    response_excerpt: str | None = None
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the receiver accepted the delivery."""
        return self.error is None

    @property
    def gone(self) -> bool:
        """Whether the receiver answered 410, which disables the endpoint."""
        return self.http_status == GONE


class Nothing(NamedTuple):
    """A row without columns."""


class Content(NamedTuple):
    """Columns that come with each claim: what a body needs of tables that this package does not know.

    `joins` is SQL that may use `e` (the event) and `w` (its endpoint; null for a URL of a call).
    """

    columns: str
    joins: str
    row: type[tuple[object, ...]]


NO_CONTENT: Final = Content("", "", Nothing)


@dataclass(frozen=True, slots=True)
class LaneCapacity:
    """What this process may claim: from no lane in `full` and, if given, only from those in `only`.

    `successors`: the lanes of deliveries that end, each as often as it may start its next one at once. None: all.
    `content`: what is to come with each claim.
    """

    full: Sequence[int] = ()
    only: Sequence[int] | None = None
    successors: Sequence[int] | None = None
    content: Content = NO_CONTENT

    @property
    def has_none(self) -> bool:
        """Nothing may be claimed, so that it need not be looked for among what is due."""
        return self.only is not None and not self.only
