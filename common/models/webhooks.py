"""What happened (`events`), who wants to hear of it (`webhook_endpoints`) and who has been told (`deliveries`).

The outbox: an event and its deliveries are inserted by the transaction that changed the world, or not at all.
`deliveries` is the queue itself. A pending row is *waiting* (no token), *parked* (its receiver has all the
connections that it may have) or *in flight* (a token and a lease); the end leaves it as history.

None of the hot tables has a foreign key: a delivery outlives its endpoint, and an insert per state change must
not lock the endpoint's row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    Integer,
    Sequence,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import Base, Created, Id, Instant, Word, Xid8, one_of

#: Every type of event, with what has happened. A new one is a line here (and `web/api/openapi/events.py`, if its data
#: has a form that receivers rely on): the database holds types to no list.
EVENTS: Final[Mapping[str, str]] = {
    "invocation.queued": "An invocation is queued",
    "invocation.running": "An invocation is running",
    "invocation.succeeded": "An invocation has ended as succeeded",
    "invocation.failed": "An invocation has ended as failed",
    "invocation.canceled": "An invocation has ended as canceled",
    "invocation.expired": "An invocation has ended as expired",
    "budget.threshold": "80 % or 100 % of the tokens of a period have been charged; sent once for each",
    "api_key.allowance_reached": "The allowance of an API key did not cover a call; sent once in each of its windows",
    "subscription.changed": "A subscription was changed, canceled, resumed or has ended",
    "webhook.disabled": "An endpoint was disabled by the platform; sent to the account's other endpoints",
    "schedule.refused": "Nothing was submitted at a time of a schedule",
    "webhook.test": "A test that was requested through the API",
}
EVENT_TYPES = tuple(EVENTS)
INVOCATION_TYPES = tuple(kind for kind in EVENTS if kind.startswith("invocation."))
#: What an endpoint may ask for: a type, or the four ends in one word.
COMPLETED = "completed"
FILTERS = (COMPLETED, *EVENT_TYPES)
#: What a single invocation can be asked to tell of.
INVOCATION_FILTERS = (COMPLETED, *INVOCATION_TYPES)

#: What is sent of an invocation: all of it, or where to find it.
PAYLOADS = ("full", "thin")
#: What an endpoint may ask for beside it: the signed receipt of an end.
RECEIPT: Final = "receipt"
INCLUDES = (RECEIPT,)
#: In the place of values that are secrets.
REDACTED = "[redacted]"
#: 410 from the receiver · failing for five days · switched off by its owner.
DISABLED_REASONS = ("gone", "failing", "manual")
#: The generation of transaction ids: raised when rows arrive from another cluster (see `docs/decisions/outbox.md`).
FEED_ERA = Sequence("feed_era", metadata=Base.metadata)


class WebhookEndpoint(Base):
    """A receiver. Secrets are encrypted for its id; the previous one signs along until `previous_until`."""

    __tablename__ = "webhook_endpoints"

    id: Mapped[Id]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    url: Mapped[Word]
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))
    description: Mapped[str | None]
    status: Mapped[Word] = mapped_column(server_default="enabled")
    disabled_reason: Mapped[str | None]
    secret: Mapped[Word]
    previous_secret: Mapped[str | None]
    previous_until: Mapped[Instant | None]
    failing_since: Mapped[Instant | None]
    rate_limit_per_second: Mapped[int | None]
    #: When the next delivery may begin, if there is a limit.
    next_send_at: Mapped[Instant | None]
    #: Sent along: their names, and all of them as encrypted JSON.
    header_names: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    encrypted_headers: Mapped[str | None]
    payload: Mapped[Word] = mapped_column(server_default="full")
    include: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    created_at: Mapped[Created]
    updated_at: Mapped[Created]

    @property
    def headers(self) -> dict[str, str]:
        """As they are shown: without their values."""
        return dict.fromkeys(self.header_names, REDACTED)

    __table_args__ = (
        CheckConstraint(one_of("payload", PAYLOADS), name="payload"),
        CheckConstraint("include <@ array['receipt']", name="include"),
        CheckConstraint("rate_limit_per_second >= 1", name="rate_limit"),
        CheckConstraint("(encrypted_headers is null) = (cardinality(header_names) = 0)", name="headers"),
        CheckConstraint(one_of("status", ("enabled", "disabled")), name="status"),
        CheckConstraint(one_of("disabled_reason", DISABLED_REASONS), name="disabled_reason"),
        CheckConstraint("(status = 'disabled') = (disabled_reason is not null)", name="disabled"),
        CheckConstraint("cardinality(events) > 0", name="events"),
        CheckConstraint("(previous_secret is null) = (previous_until is null)", name="previous"),
        Index("ix_webhook_endpoints_user_id_id", "user_id", "id"),
    )


class WebhookDefaultSecret(Base):
    """The account's secret for URLs given per call; made when first needed. Encrypted for the account's id."""

    __tablename__ = "webhook_default_secrets"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    secret: Mapped[Word]
    previous_secret: Mapped[str | None]
    previous_until: Mapped[Instant | None]
    created_at: Mapped[Created]
    updated_at: Mapped[Created]

    __table_args__ = (CheckConstraint("(previous_secret is null) = (previous_until is null)", name="previous"),)


class Event(Base):
    """One fact, told in (era, xid, id) order once no older transaction is open. `data` null: render the invocation."""

    __tablename__ = "events"

    id: Mapped[Id]
    user_id: Mapped[UUID]
    type: Mapped[Word]
    invocation_id: Mapped[UUID | None]
    data: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    era: Mapped[int] = mapped_column(
        Integer, server_default=text("coalesce(pg_sequence_last_value('feed_era'::regclass), 0)::integer")
    )
    xid: Mapped[str] = mapped_column(Xid8, server_default=text("pg_current_xact_id()"))
    created_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint(r"type ~ '^[a-z_]+\.[a-z_]+$'", name="type"),
        CheckConstraint("data is not null or invocation_id is not null", name="data"),
        CheckConstraint("attempts >= 0", name="attempts"),
        Index("ix_events_feed", "user_id", "era", "xid", "id"),
        Index("ix_events_invocation_id", "invocation_id"),
    )


class Delivery(Base):
    """One event for one receiver: an endpoint, or the URL that came with the call. Due rows are the queue."""

    __tablename__ = "deliveries"

    id: Mapped[Id]
    event_id: Mapped[UUID]
    user_id: Mapped[UUID]
    endpoint_id: Mapped[UUID | None]
    url: Mapped[str | None]
    #: Who must not be kept busy by whom: an endpoint, or one host of one account. A collision costs nothing but speed.
    lane: Mapped[int] = mapped_column(
        BigInteger,
        Computed(
            "coalesce(uuid_hash_extended(endpoint_id, 0), hashtextextended(user_id::text || "
            "lower(coalesce(substring(url from '^[^:]+://([^/?#]*)'), url)), 0))",
            persisted=True,
        ),
    )
    status: Mapped[Word] = mapped_column(server_default="pending")
    due_at: Mapped[Instant] = mapped_column(server_default=func.now())
    parked: Mapped[bool] = mapped_column(server_default=text("false"))
    tries: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    token: Mapped[UUID | None]
    lease_until: Mapped[Instant | None]
    created_at: Mapped[Created]
    finished_at: Mapped[Instant | None]

    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id", postgresql_nulls_not_distinct=True),
        CheckConstraint(one_of("status", ("pending", "delivered", "failed")), name="status"),
        CheckConstraint("(endpoint_id is null) <> (url is null)", name="receiver"),
        CheckConstraint("(status = 'pending') = (finished_at is null)", name="end"),
        CheckConstraint("(token is null) = (lease_until is null)", name="lease"),
        CheckConstraint("token is null or (status = 'pending' and not parked)", name="in_flight"),
        CheckConstraint("tries >= 0", name="tries"),
        Index("ix_deliveries_endpoint_id_id", "endpoint_id", "id"),
        Index(
            "ix_deliveries_waiting",
            "due_at",
            postgresql_where=text("status = 'pending' and lease_until is null and not parked"),
        ),
        Index("ix_deliveries_parked", "lane", "due_at", postgresql_where=text("parked")),
        Index("ix_deliveries_in_flight", "lease_until", postgresql_where=text("lease_until is not null")),
        {"postgresql_with": {"fillfactor": "80", "autovacuum_vacuum_scale_factor": "0.02"}},
    )


class DeliveryAttempt(Base):
    """One POST that was begun, and how it ended. `n` runs 1, 2, 3 … over resends too; written with the end.

    `error` is a sentence for people, null after a success: it says nothing about the network behind an address.
    """

    __tablename__ = "delivery_attempts"

    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[Instant]
    http_status: Mapped[int | None] = mapped_column(SmallInteger)
    duration_ms: Mapped[int]
    error: Mapped[str | None]
    response_excerpt: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("n >= 1", name="n"),
        CheckConstraint("duration_ms >= 0", name="duration"),
        CheckConstraint("octet_length(response_excerpt) <= 2048", name="excerpt"),
        CheckConstraint("http_status is not null or response_excerpt is null", name="no_answer_no_excerpt"),
    )
