"""One row for all that an account used in an hour, a day or a month.

Revision ID: 0002
Create Date: 2026-11-22

Filled from the rollups. Stop the workers for sweeps first: rollups of the old code would not be in it
(`books verify` tells, `books repair` makes it good).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LATENCY_RANK = """
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
FILL = """
with latencies as (
  select r.user_id, r.grain, r.starts_at, x.bucket, sum(x.n)::integer as n
    from usage_rollups r cross join unnest(r.buckets, r.counts) x(bucket, n) group by 1, 2, 3, 4),
histograms as (
  select user_id, grain, starts_at, array_agg(bucket order by bucket) as buckets, array_agg(n order by bucket) as counts
    from latencies group by 1, 2, 3),
sums as (
  select user_id, grain, starts_at, sum(invocations) as invocations,
         coalesce(sum(invocations) filter (where status = 'success'), 0) as succeeded,
         coalesce(sum(invocations) filter (where status in ('error', 'timeout')), 0) as failed,
         sum(tokens_used) as tokens_used, min(first_at) as first_at, max(last_at) as last_at
    from usage_rollups group by 1, 2, 3)
insert into usage_points (user_id, grain, starts_at, invocations, succeeded, failed, tokens_used, first_at, last_at,
                          buckets, counts)
select s.*, coalesce(h.buckets, '{}'), coalesce(h.counts, '{}')
  from sums s left join histograms h using (user_id, grain, starts_at)
"""


def upgrade() -> None:
    op.execute(LATENCY_RANK)
    op.create_table(
        "usage_points",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("grain", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("invocations", sa.BigInteger(), nullable=False),
        sa.Column("succeeded", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("tokens_used", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("buckets", postgresql.ARRAY(sa.SmallInteger()), nullable=False),
        sa.Column("counts", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column(
            "p50", sa.SmallInteger(), sa.Computed("latency_rank(buckets, counts, 0.5)", persisted=True), nullable=True
        ),
        sa.Column(
            "p95", sa.SmallInteger(), sa.Computed("latency_rank(buckets, counts, 0.95)", persisted=True), nullable=True
        ),
        sa.CheckConstraint("grain in ('hour', 'day', 'month')", name=op.f("ck_usage_points_grain")),
        sa.CheckConstraint(
            "invocations >= 1 and succeeded >= 0 and failed >= 0", name=op.f("ck_usage_points_invocations")
        ),
        sa.CheckConstraint("succeeded + failed <= invocations", name=op.f("ck_usage_points_outcomes")),
        sa.CheckConstraint("tokens_used >= 0", name=op.f("ck_usage_points_tokens_used")),
        sa.CheckConstraint("starts_at <= first_at and first_at <= last_at", name=op.f("ck_usage_points_extent")),
        sa.CheckConstraint("cardinality(buckets) = cardinality(counts)", name=op.f("ck_usage_points_histogram")),
        sa.PrimaryKeyConstraint("user_id", "grain", "starts_at", name=op.f("pk_usage_points")),
        postgresql_with={"fillfactor": "70"},
    )
    op.execute(FILL)


def downgrade() -> None:
    op.drop_table("usage_points")
    op.execute("drop function latency_rank(smallint[], integer[], float8)")
