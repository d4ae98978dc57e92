"""One invocation in three tables: what it is (`invocations`), what is to do (`queue`), what was tried (`attempts`).

`invocations` is written at submit and at the end, and never again. `queue` holds open work only: its row is
*waiting* (no slot), *ready* (a slot and a start_tag, no token) or *running* (a token); the end deletes it. A row in
`queue` and an `open` status therefore mean the same thing.
"""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Numeric,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import MAX_TOKENS, Base, Created, Id, Instant, Json, Tokens, Word, one_of
from common.models.finding import FAILURE, FOUND_BY

ENDS = ("succeeded", "failed", "canceled", "expired")
#: Of a caller's own waiting invocations.
PRIORITIES = (-1, 0, 1)
STATUSES = ("queued", "running", *ENDS)
#: How the units that were priced were known: the tool reported them, or the price's meter counted them.
BASES = ("reported", "metered")
ERROR_CODES = (
    "tool_error",
    "tool_failed",
    "tool_timeout",
    "tool_unreachable",
    "tool_bad_response",
    "output_too_large",
    "output_rejected",
    "credential_unavailable",
    "worker_lost",
    "cost_exceeded",
)

#: The virtual clock of the fair queue: the highest start_tag taken so far (start-time fair queueing, Goyal et al.
#: 1996). VT = Sequence("vt", metadata=Base.metadata, minvalue=0, start=0)


class InvocationRow(Base):
    """The facts. `status` is `open` until the end; queued or running is what `queue` says.

    `failure` is the status where that is an end but success, set by the database: indexes have this column instead of
    `status`, so that a success changes no column of an index. `is_failure` is for the code of the release before.
    """

    __tablename__ = "invocations"

    id: Mapped[Id]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    period_id: Mapped[UUID] = mapped_column(ForeignKey("periods.id"))
    tool_id: Mapped[UUID] = mapped_column(ForeignKey("tools.id"))
    tool_version_id: Mapped[UUID] = mapped_column(ForeignKey("tool_versions.id"))
    api_key_id: Mapped[UUID | None]
    #: Of a delegated key: the key that it comes from in the end.
    api_key_root_id: Mapped[UUID | None]
    status: Mapped[Word] = mapped_column(server_default="open")
    input: Mapped[object | None] = mapped_column(JSONB(none_as_null=False))
    output: Mapped[object | None] = mapped_column(JSONB(none_as_null=False))
    #: As text, in bytes. Null: not there, or from before this was noted.
    input_bytes: Mapped[int | None]
    output_bytes: Mapped[int | None]
    #: The same as text, where `jsonb` would reorder keys or respell numbers; dropped with them.
    input_as_sent: Mapped[object | None] = mapped_column(JSON(none_as_null=True))
    output_as_sent: Mapped[object | None] = mapped_column(JSON(none_as_null=True))
    metadata_as_sent: Mapped[object | None] = mapped_column(JSON(none_as_null=True))
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    metadata_: Mapped[Json] = mapped_column("metadata", server_default=text("'{}'"))
    webhook_url: Mapped[str | None]
    webhook_events: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    held: Mapped[Tokens]
    charged: Mapped[int | None] = mapped_column(BigInteger)
    #: The number that was priced, if the price counts one; billing's own record of it is in `usage_logs`.
    units: Mapped[Decimal | None] = mapped_column(Numeric)
    basis: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    request_id: Mapped[Word]
    created_at: Mapped[Created]
    started_at: Mapped[Instant | None]
    finished_at: Mapped[Instant | None]
    expires_at: Mapped[Instant]
    cancel_requested_at: Mapped[Instant | None]
    is_failure: Mapped[bool | None]
    failure: Mapped[str | None]
    #: Whom the caller made it for, in the caller's words.
    end_user: Mapped[str | None]
    #: The invocation that it repeats.
    rerun_of: Mapped[UUID | None]
    #: When the caller wants it to start at the earliest; and its place among the caller's own waiting ones.
    not_before: Mapped[Instant | None]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    #: Whether the answer is streamed while it is made.
    stream: Mapped[bool] = mapped_column(server_default=text("false"))
    #: The tool that was asked for, where its fallback ran.
    requested_tool_id: Mapped[UUID | None]
    #: The signed quote that it was submitted with.
    quote_id: Mapped[UUID | None]
    #: The trace of the request that made it, for the spans that continue it; null when nothing is traced.
    traceparent: Mapped[str | None]

    __table_args__ = (
        CheckConstraint(one_of("status", ("open", *ENDS)), name="status"),
        CheckConstraint(one_of("error_code", ERROR_CODES), name="error_code"),
        CheckConstraint(one_of("basis", BASES), name="basis"),
        CheckConstraint(f"held between 0 and {MAX_TOKENS}", name="held"),
        CheckConstraint("charged between 0 and held", name="charged"),
        CheckConstraint(
            "charged = 0 or status = 'succeeded' or (error_code = 'cost_exceeded' and charged = held)"
            " or (status = 'canceled' and stream and basis is not null)",
            name="only_answers_are_charged",
        ),
        CheckConstraint("(status = 'open') = (finished_at is null)", name="end"),
        CheckConstraint("(status = 'open') = (charged is null)", name="settled"),
        CheckConstraint("(status = 'failed') = (error_code is not null)", name="error"),
        CheckConstraint("status not in ('succeeded', 'failed') or started_at is not null", name="started"),
        CheckConstraint("status <> 'expired' or started_at is null", name="expired"),
        CheckConstraint("started_at >= created_at and finished_at >= coalesce(started_at, created_at)", name="times"),
        CheckConstraint("attempts >= 0", name="attempts"),
        CheckConstraint(FAILURE, name="failure"),
        Index("ix_invocations_user_id_id", "user_id", "id"),
        Index("ix_invocations_tool_id_id", "tool_id", "id"),
        Index("ix_invocations_user_id_tool_id_id", "user_id", "tool_id", "id"),
        *FOUND_BY,
        {"postgresql_with": {"fillfactor": "80"}},
    )


class QueueRow(Base):
    """Open work. Small, hot, and gone at the end.

    `moves` counts how often the row went into a slot or out of one: the gate in Redis hears of moves in any order, and
    believes the one with the highest number.
    """

    __tablename__ = "queue"

    id: Mapped[UUID] = mapped_column(ForeignKey("invocations.id"), primary_key=True)
    user_id: Mapped[UUID]
    period_id: Mapped[UUID]
    tool_id: Mapped[UUID]
    tool_version_id: Mapped[UUID]
    held: Mapped[Tokens]
    timeout_seconds: Mapped[int] = mapped_column(SmallInteger)
    slot: Mapped[int | None]
    start_tag: Mapped[int | None] = mapped_column(BigInteger)
    moves: Mapped[int] = mapped_column(server_default=text("0"))
    #: Among the account's own waiting rows: higher ones get its slots first.
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    due_at: Mapped[Instant] = mapped_column(server_default=func.now())
    expires_at: Mapped[Instant]
    token: Mapped[UUID | None]
    worker: Mapped[UUID | None]
    claimed_at: Mapped[Instant | None]
    lease_expires_at: Mapped[Instant | None]
    dispatched_at: Mapped[Instant | None]
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    crash_count: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    started_at: Mapped[Instant | None]
    cancel_at: Mapped[Instant | None]
    last_error: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    #: The keys whose allowance it counts against.
    api_keys: Mapped[list[UUID] | None] = mapped_column(ARRAY(Uuid))
    #: The key whose `max_concurrency` it counts against.
    capped_key: Mapped[UUID | None]
    #: Set while it waits for that key: when it is due. Then `due_at` is never, and only who knows of keys finds it.
    key_due_at: Mapped[Instant | None]

    __table_args__ = (
        CheckConstraint(f"held between 0 and {MAX_TOKENS}", name="held"),
        CheckConstraint("slot >= 1", name="slot"),
        CheckConstraint("priority between -1 and 1", name="priority"),
        CheckConstraint("(key_due_at is null) = (due_at < 'infinity')", name="due_at"),
        CheckConstraint("key_due_at is null or (slot is null and capped_key is not null)", name="waits_for_key"),
        CheckConstraint("(slot is null) = (start_tag is null)", name="tagged"),
        CheckConstraint("token is null or slot is not null", name="running_has_a_slot"),
        CheckConstraint("(token is null) = (worker is null)", name="owner"),
        CheckConstraint("(token is null) = (lease_expires_at is null)", name="lease"),
        CheckConstraint("(token is null) = (claimed_at is null)", name="taken"),
        CheckConstraint("token is not null or dispatched_at is null", name="sent"),
        CheckConstraint("attempts >= 0 and crash_count >= 0 and moves >= 0", name="counts"),
        Index("ix_queue_ready", "start_tag", postgresql_where=text("token is null and slot is not null")),
        Index("ix_queue_waiting", "period_id", "priority", "due_at", postgresql_where=text("slot is null")),
        Index("ix_queue_expires_at", "expires_at", postgresql_where=text("token is null")),
        Index("ix_queue_running", "lease_expires_at", postgresql_where=text("lease_expires_at is not null")),
        Index("ix_queue_period_id_id", "period_id", "id"),
        Index("ix_queue_api_keys", "user_id", "id", postgresql_where=text("api_keys is not null")),
        Index("ix_queue_capped_key", "capped_key", "period_id", postgresql_where=text("capped_key is not null")),
        Index(
            "ix_queue_waiting_for_key",
            "capped_key",
            "period_id",
            text("priority desc"),
            "key_due_at",
            postgresql_where=text("key_due_at is not null"),
        ),
        {
            "postgresql_with": {
                "fillfactor": "60",
                "autovacuum_vacuum_threshold": "5000",
                "autovacuum_vacuum_scale_factor": "0",
                "autovacuum_vacuum_cost_delay": "0",
            }
        },
    )


class Attempt(Base):
    """One call that was begun, and how it ended. Numbers run 1..n without gaps."""

    __tablename__ = "attempts"

    invocation_id: Mapped[UUID] = mapped_column(ForeignKey("invocations.id"), primary_key=True)
    n: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    token: Mapped[UUID]
    worker: Mapped[UUID]
    started_at: Mapped[Instant]
    ended_at: Mapped[Created]
    outcome: Mapped[Word]
    http_status: Mapped[int | None] = mapped_column(SmallInteger)
    detail: Mapped[str | None]
    #: What the tool said where `detail`, which the owner may be shown, says less.
    operator_detail: Mapped[str | None]
    #: When the next attempt was due; null: none was planned.
    retry_at: Mapped[Instant | None]

    __table_args__ = (
        UniqueConstraint("token"),
        CheckConstraint(one_of("outcome", ("succeeded", "canceled", *ERROR_CODES)), name="outcome"),
        CheckConstraint("n >= 1", name="n"),
        CheckConstraint("ended_at >= started_at", name="times"),
    )


class IdempotencyKey(Base):
    """Which invocation a key of an account stands for; 24 hours long. Null: it stands for another request."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    request_hash: Mapped[Word]
    invocation_id: Mapped[UUID | None] = mapped_column(ForeignKey("invocations.id"))
    created_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint("length(key) between 1 and 255", name="key"),
        Index("ix_idempotency_keys_created_at", "created_at"),
    )


class IdempotentRequest(Base):
    """What a request under a key has made, where that is no invocation; 24 hours long.

    `facts` and `secret` are what its answer said and rows do not; the secret is encrypted for the account, until
    `secret_until`.
    """

    __tablename__ = "idempotent_requests"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    request_hash: Mapped[Word]
    made: Mapped[UUID]
    facts: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    secret: Mapped[str | None]
    secret_until: Mapped[Instant | None]
    created_at: Mapped[Created]

    __table_args__ = (
        CheckConstraint("length(key) between 1 and 255", name="key"),
        Index("ix_idempotent_requests_created_at", "created_at"),
        Index("ix_idempotent_requests_secret_until", "secret_until", postgresql_where=text("secret_until is not null")),
    )


class StoredPayloads(Base):
    """What an account's inputs and outputs came to when they were last summed up, in bytes."""

    __tablename__ = "stored_payloads"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    measured_at: Mapped[Instant]
