"""What metadata cannot say of usage: latency buckets, append-only, monthly partitions, and the sums that count."""

from __future__ import annotations

from common.models.usage import LATENCY_GAMMA

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
  execute format('select exists (select from %I where xid > coalesce(usage_mark(), ''0'')
                  or status in (''error'', ''timeout'') and xid > coalesce(failure_mark(), ''0''))', child)
    into behind;
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
#: `failure_mark` is the same of failed invocations (`failure_rollups`).
#: `period_charged` is what a period has been charged, to the token, at any moment: rolled up + live tail.
USAGE_SUMS_UP = """
create function usage_mark() returns xid8 language sql stable as $$
  select w.xid from watermarks w
   where w.name = 'usage' and w.cluster = (select system_identifier from pg_control_system())
$$;
create function failure_mark() returns xid8 language sql stable as $$
  select w.xid from watermarks w
   where w.name = 'failures' and w.cluster = (select system_identifier from pg_control_system())
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
USAGE_SUMS_DOWN = "drop function period_charged(uuid, uuid); drop function failure_mark(); drop function usage_mark()"

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
