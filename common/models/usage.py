"""What every ended invocation cost (`usage_logs`), and the same in sums that stay quick (`usage_rollups`).

`usage_logs` are billing facts: one row per ended invocation, appended in the transaction that ends it, never changed.
They are partitioned by the month in which the invocation was made, by range of its UUIDv7, so that its id can be the
primary key and old months can be dropped whole.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Computed, Index, Integer, Numeric, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import UserDefinedType

from common.kit.clock import uuid7
from common.models.base import MAX_TOKENS, Base, Created, Instant, Tokens, Word, one_of

USAGE_STATUSES = ("success", "error", "timeout", "canceled", "expired")
GRAINS = ("hour", "day", "month")

#: Latencies are counted in buckets whose bounds grow by this factor, so that any percentile read from merged buckets
#: is within 2 % of the true one: (1 + 0.02) / (1 - 0.02). (Masson, Rim, Lee: DDSketch, VLDB 2019.)
LATENCY_GAMMA = 1.02 / 0.98
#: Stands for "no API key" in a primary key, where null cannot stand.
NO_KEY = UUID(int=0)


class Xid8(UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id, which never wraps. Read as text."""

    cache_ok = True

    def get_col_spec(self, **_kw: Any) -> str:
        return "xid8"


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
            "ix_usage_logs_trouble",
            "user_id",
            text("created_at desc"),
            text("id desc"),
            "status",
            postgresql_where=text("status <> 'success'"),
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


#: In which latency bucket a call of so many milliseconds is counted; -1 is "under a millisecond".
LATENCY_BUCKET_UP = f"""
create function latency_bucket(ms integer) returns smallint language sql immutable parallel safe as $$
  select case when ms < 1 then -1 else ceil(ln(ms::float8) / ln({LATENCY_GAMMA!r}::float8)) end::smallint
$$
"""
LATENCY_BUCKET_DOWN = "drop function latency_bucket(integer)"

#: The bucket of the nearest-rank percentile of a histogram (its buckets ascend); null when it is empty.
LATENCY_RANK_UP = """
create function latency_rank(buckets smallint[], counts integer[], share float8) returns smallint
  language plpgsql immutable parallel safe as $$
declare
  rank bigint := (select ceil(share * sum(n)) from unnest(counts) n);
  n integer;
  i integer := 0;
begin
  foreach n in array counts loop
    i := i + 1;
    rank := rank - n;
    if rank <= 0 then
      return buckets[i];
    end if;
  end loop;
  return null;
end $$
"""
LATENCY_RANK_DOWN = "drop function latency_rank(smallint[], integer[], float8)"

#: Usage never changes. Only moving rows out of the default partition and adopting a restored dump may, and say so.
USAGE_APPEND_ONLY_UP = """
create function usage_logs_append_only() returns trigger language plpgsql as $$
begin
  if current_setting('joyfull.usage_maintenance', true) = 'on' then
    return case tg_op when 'DELETE' then old else new end;
  end if;
  raise exception 'usage is append-only'
    using errcode = 'integrity_constraint_violation', constraint = 'usage_logs_append_only';
end $$;
create trigger usage_logs_append_only before update or delete on usage_logs
  for each row execute function usage_logs_append_only();
"""
USAGE_APPEND_ONLY_DOWN = "drop function usage_logs_append_only() cascade"

#: The safety net: a completion must never fail because next month's partition is missing.
USAGE_DEFAULT_UP = "create table usage_logs_default partition of usage_logs default"
USAGE_DEFAULT_DOWN = "drop table usage_logs_default"

#: `uuid7_floor` is the smallest id of a moment; `usage_logs_add_month` makes one month's partition and moves rows there
#: that the default partition caught. Returns false when it exists already. Moved rows keep their `xid`.
#: `usage_logs_retire_month` drops one month whole, but for rows of invocations that ended later: their sums are still
#: made from rows. Returns false when it is not all rolled up yet. Both run with the rights of the tables' owner, so
#: that the platform needs none of these.
USAGE_PARTITIONS_UP = """
create function uuid7_floor(moment timestamptz) returns uuid language sql immutable parallel safe as $$
  select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
create function usage_logs_add_month(month timestamptz) returns boolean language plpgsql
  security definer set search_path = public, pg_temp as $$
declare
  starts timestamptz := date_trunc('month', month, 'UTC');
  ends timestamptz := date_trunc('month', starts + interval '45 days', 'UTC');
  child text := 'usage_logs_' || to_char(starts at time zone 'UTC', 'YYYY_MM');
begin
  perform pg_advisory_xact_lock(hashtext('usage_logs_add_month'));
  if to_regclass(child) is not null then
    return false;
  end if;
  execute format('create table %I (like usage_logs including defaults including constraints)', child);
  lock table usage_logs_default in access exclusive mode;
  perform set_config('joyfull.usage_maintenance', 'on', true);
  execute format('with moved as (delete from usage_logs_default where invocation_id >= %L and invocation_id < %L
                  returning *) insert into %I select * from moved', uuid7_floor(starts), uuid7_floor(ends), child);
  perform set_config('joyfull.usage_maintenance', 'off', true);
  execute format('alter table usage_logs attach partition %I for values from (%L) to (%L)',
                 child, uuid7_floor(starts), uuid7_floor(ends));
  return true;
end $$;
create function usage_logs_retire_month(month timestamptz) returns boolean language plpgsql
  security definer set search_path = public, pg_temp as $$
declare
  starts timestamptz := date_trunc('month', month, 'UTC');
  ends timestamptz := date_trunc('month', starts + interval '45 days', 'UTC');
  child text := 'usage_logs_' || to_char(starts at time zone 'UTC', 'YYYY_MM');
  behind boolean;
begin
  if ends > now() then
    raise exception 'the month has not ended' using errcode = 'invalid_parameter_value';
  end if;
  execute format('lock table %I in share mode', child);
  execute format('select exists (select from %I where xid > coalesce(usage_mark(), ''0''))', child) into behind;
  if behind then
    return false;
  end if;
  insert into watermarks (name, cluster, at) select 'usage_retired', system_identifier, ends from pg_control_system()
    on conflict (name) do update set at = greatest(watermarks.at, excluded.at);
  execute format('alter table usage_logs detach partition %I', child);
  execute format('insert into usage_logs select * from %I where created_at >= %L', child, ends);
  execute format('drop table %I', child);
  return true;
end $$;
revoke execute on function usage_logs_add_month(timestamptz), usage_logs_retire_month(timestamptz) from public;
"""
USAGE_PARTITIONS_DOWN = """
drop function usage_logs_retire_month(timestamptz); drop function usage_logs_add_month(timestamptz);
drop function uuid7_floor(timestamptz)
"""

#: `usage_mark` is the transaction up to which usage is rolled up; null when nothing is, or when the watermark was taken
#: in another cluster (a restored dump), whose numbers mean nothing here: then the rows alone count.
#: `period_charged` is what a period has been charged, to the token, at any moment: rolled up + live tail.
USAGE_SUMS_UP = """
create function usage_mark() returns xid8 language sql stable as $$
  select w.xid from watermarks w
   where w.name = 'usage' and w.cluster = (select system_identifier from pg_control_system())
$$;
create function period_charged(period uuid, account uuid) returns numeric language sql stable as $$
  with mark as materialized (select usage_mark() as xid)
  select coalesce((select sum(r.tokens_used) from usage_rollups r
                    where r.period_id = period and r.grain = 'month' and mark.xid is not null), 0)
       + coalesce((select sum(u.tokens_used) from usage_logs u
                    where u.user_id = account and u.period_id = period
                      and u.xid > coalesce(mark.xid, '0'::xid8)), 0)
    from mark
$$;
"""
USAGE_SUMS_DOWN = "drop function period_charged(uuid, uuid); drop function usage_mark()"

DDL_UP = (
    LATENCY_BUCKET_UP,
    LATENCY_RANK_UP,
    USAGE_APPEND_ONLY_UP,
    USAGE_DEFAULT_UP,
    USAGE_PARTITIONS_UP,
    USAGE_SUMS_UP,
)
DDL_DOWN = (
    USAGE_SUMS_DOWN,
    USAGE_PARTITIONS_DOWN,
    USAGE_DEFAULT_DOWN,
    USAGE_APPEND_ONLY_DOWN,
    LATENCY_RANK_DOWN,
    LATENCY_BUCKET_DOWN,
)
