"""What every ended invocation cost (`usage_logs`), and the same in sums that stay quick (`usage_rollups`).

`usage_logs` are billing facts: one row per ended invocation, appended in the transaction that ends it, never changed.
They are partitioned by the month in which the invocation was made, by range of its UUIDv7, so that its id can be the
primary key and old months can be dropped whole.
"""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Computed, Index, Integer, Numeric, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from common.kit.clock import uuid7
from common.models.base import MAX_TOKENS, Base, Created, Instant, Tokens, Word, Xid8, one_of

USAGE_STATUSES = ("success", "error", "timeout", "canceled", "expired")
GRAINS = ("hour", "day", "month")

#: Latencies are counted in buckets whose bounds grow by this factor, so that any percentile read from merged buckets
#: is within 2 % of the true one: (1 + 0.02) / (1 - 0.02). (Masson, Rim, Lee: DDSketch, VLDB 2019.)
LATENCY_GAMMA = 1.02 / 0.98
#: Stands for "no API key" in a primary key, where null cannot stand.
NO_KEY = UUID(int=0)


class UsageLog(Base):
    """One ended invocation. No foreign keys: it copies from a row that has them, and outlives that row's retention.

    `units`: the number that was priced, where the price counts one. `overrun`: by how much the price would have
    exceeded the hold; it is not charged. `xid`: the transaction that wrote the row, by which readers tell what is
    summed already (docs/decisions/rollups.md).
    """

    __tablename__ = "usage_logs"

    invocation_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(default=uuid7)
    user_id: Mapped[UUID]
    period_id: Mapped[UUID]
    tool_id: Mapped[UUID]
    tool_version_id: Mapped[UUID]
    api_key_id: Mapped[UUID | None]
    status: Mapped[Word]
    tokens_used: Mapped[Tokens]
    units: Mapped[Decimal | None] = mapped_column(Numeric)
    held: Mapped[Tokens]
    overrun: Mapped[Tokens] = mapped_column(server_default=text("0"))
    latency_ms: Mapped[int | None]
    http_status: Mapped[int | None] = mapped_column(SmallInteger)
    created_at: Mapped[Created]
    xid: Mapped[str] = mapped_column(Xid8, server_default=text("pg_current_xact_id()"))
    #: Of a delegated key: the key that it comes from in the end.
    api_key_root_id: Mapped[UUID | None]
    #: Whom the invocation was for, in the caller's own words.
    end_user: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        CheckConstraint(one_of("status", USAGE_STATUSES), name="status"),
        CheckConstraint(f"held between 0 and {MAX_TOKENS}", name="held"),
        CheckConstraint("tokens_used between 0 and held", name="tokens_used"),
        CheckConstraint("overrun >= 0 and (overrun = 0 or tokens_used = held)", name="overrun"),
        CheckConstraint(
            "tokens_used = 0 or status in ('success', 'canceled') or (status = 'error' and tokens_used = held)",
            name="only_answers_are_charged",
        ),
        CheckConstraint("latency_ms >= 0", name="latency_ms"),
        Index("ix_usage_logs_history", "user_id", text("created_at desc"), text("id desc")),
        Index("ix_usage_logs_tool", "user_id", "tool_id", text("created_at desc"), text("id desc")),
        Index(
            "ix_usage_logs_failures",
            "user_id",
            "status",
            text("created_at desc"),
            text("id desc"),
            postgresql_where=text("status <> 'success'"),
        ),
        Index(
            "ix_usage_logs_end_user",
            "user_id",
            "end_user",
            text("created_at desc"),
            text("id desc"),
            postgresql_where=text("end_user is not null"),
        ),
        Index(
            "ix_usage_logs_api_key",
            text("coalesce(api_key_root_id, api_key_id)"),
            text("created_at desc"),
            text("id desc"),
            postgresql_where=text("api_key_id is not null"),
        ),
        Index("ix_usage_logs_tail", "user_id", "xid", postgresql_include=["period_id", "tokens_used"]),
        Index("ix_usage_logs_xid", "xid"),
        {"postgresql_partition_by": "RANGE (invocation_id)"},
    )


class UsageRollup(Base):
    """Sums of `usage_logs` up to the watermark, by hour, by day and by month (each complete in itself).

    `first_at` and `last_at` are the first and last row in the sum: when both lie within a range the sum counts whole,
    even if the range cuts its hour. `buckets` and `counts` are one sparse histogram of latencies, by ascending bucket.
    """

    __tablename__ = "usage_rollups"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    grain: Mapped[Word] = mapped_column(primary_key=True)
    starts_at: Mapped[Instant] = mapped_column(primary_key=True)
    period_id: Mapped[UUID] = mapped_column(primary_key=True)
    tool_id: Mapped[UUID] = mapped_column(primary_key=True)
    status: Mapped[Word] = mapped_column(primary_key=True)
    api_key_id: Mapped[UUID] = mapped_column(primary_key=True)
    invocations: Mapped[int] = mapped_column(BigInteger)
    tokens_used: Mapped[Tokens]
    first_at: Mapped[Instant]
    last_at: Mapped[Instant]
    buckets: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    counts: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    #: Follows from `api_key_id`: the key that a delegated one comes from in the end.
    api_key_root_id: Mapped[UUID | None]

    __table_args__ = (
        CheckConstraint(one_of("grain", GRAINS), name="grain"),
        CheckConstraint(one_of("status", USAGE_STATUSES), name="status"),
        CheckConstraint("invocations >= 1", name="invocations"),
        CheckConstraint("tokens_used >= 0", name="tokens_used"),
        CheckConstraint("starts_at <= first_at and first_at <= last_at", name="extent"),
        CheckConstraint("cardinality(buckets) = cardinality(counts)", name="histogram"),
        # Sums are no part of any index, so that adding to a row stays a heap-only update.
        Index("ix_usage_rollups_period_id", "period_id", postgresql_where=text("grain = 'month'")),
        Index("ix_usage_rollups_grain_starts_at", "grain", "starts_at"),
        {"postgresql_with": {"fillfactor": "70"}},
    )


class UsagePoint(Base):
    """All that an account used in an hour, a day or a month, up to the watermark, in one row: what summaries show.

    Sums of `usage_rollups`, kept beside them because their number grows with tools, statuses, keys and periods.
    `p50` and `p95` are the latency buckets that the percentiles lie in.
    """

    __tablename__ = "usage_points"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    grain: Mapped[Word] = mapped_column(primary_key=True)
    starts_at: Mapped[Instant] = mapped_column(primary_key=True)
    invocations: Mapped[int] = mapped_column(BigInteger)
    succeeded: Mapped[int] = mapped_column(BigInteger)
    failed: Mapped[int] = mapped_column(BigInteger)
    tokens_used: Mapped[Tokens]
    first_at: Mapped[Instant]
    last_at: Mapped[Instant]
    buckets: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    counts: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    p50: Mapped[int | None] = mapped_column(
        SmallInteger, Computed("latency_rank(buckets, counts, 0.5)", persisted=True)
    )
    p95: Mapped[int | None] = mapped_column(
        SmallInteger, Computed("latency_rank(buckets, counts, 0.95)", persisted=True)
    )

    __table_args__ = (
        CheckConstraint(one_of("grain", GRAINS), name="grain"),
        CheckConstraint("invocations >= 1 and succeeded >= 0 and failed >= 0", name="invocations"),
        CheckConstraint("succeeded + failed <= invocations", name="outcomes"),
        CheckConstraint("tokens_used >= 0", name="tokens_used"),
        CheckConstraint("starts_at <= first_at and first_at <= last_at", name="extent"),
        CheckConstraint("cardinality(buckets) = cardinality(counts)", name="histogram"),
        {"postgresql_with": {"fillfactor": "70"}},
    )


class Watermark(Base):
    """How far a periodic reader has come: it has seen every row whose transaction is `xid` or older.

    Transaction ids mean nothing in another cluster: `cluster` tells where `xid` was taken (a restored dump differs).
    """

    __tablename__ = "watermarks"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    xid: Mapped[str] = mapped_column(Xid8, server_default=text("'0'"))
    cluster: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[Created]
