"""Many rows quickly, and what PostgreSQL does with a statement among them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import psycopg.sql
from sqlalchemy import TextClause

from common.kit.query import Query

_FILL = """
set session_replication_role = replica;
create temporary table people as
select row_number() over () as n, u.id as user_id, p.id as period_id
  from (select u.* from users u join subscriptions s on s.user_id = u.id order by u.id) u
  join periods p on p.user_id = u.id;
create temporary table things as
select row_number() over () as n, t.id as tool_id, v.id as version_id
  from tools t join tool_versions v on v.tool_id = t.id;
create function pg_temp.id_at(moment timestamptz) returns uuid language sql as $$
  select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || '7'
          || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid
$$;
create temporary table calls as
select pg_temp.id_at(moment) as id, moment, p.user_id, p.period_id, t.tool_id, t.version_id,
       case when call % 50 = 0 then 'failed' when call % 333 = 0 then 'canceled' else 'succeeded' end as status
  from (select n as call, now() - interval '25 days' * (1 - n::float / {calls}) as moment,
               -- The last person has twenty calls in all, the first has a quarter of everything.
               case when n % ({calls} / 20) = 0 then (select max(n) from people)
                    when n % 4 = 0 then 1 else 1 + n % ((select max(n) from people) - 1) end as who,
               1 + n % (select max(n) from things) as what
          from generate_series(1, {calls}) n) x
  join people p on p.n = who join things t on t.n = what;
insert into invocations (id, user_id, period_id, tool_id, tool_version_id, status, input, output, held, charged,
                         attempts, request_id, created_at, started_at, finished_at, expires_at, error_code,
                         error_detail, is_failure, failure)
select id, user_id, period_id, tool_id, version_id, status, '{{"text": "some words"}}', '{{"answer": "other words"}}',
       10, case when status = 'succeeded' then 3 else 0 end, 1, 'scale', moment, moment, moment, moment,
       case when status = 'failed' then 'tool_failed' end, case when status = 'failed' then '500' end,
       case when status <> 'succeeded' then true end, nullif(status, 'succeeded')
  from calls;
insert into attempts (invocation_id, n, token, worker, started_at, ended_at, outcome)
select id, 1, gen_random_uuid(), gen_random_uuid(), moment, moment, 'succeeded' from calls;
insert into usage_logs (invocation_id, id, user_id, period_id, tool_id, tool_version_id, status, tokens_used, held,
                        latency_ms, created_at)
select id, id, user_id, period_id, tool_id, version_id, 'success', 3, 10, 20, moment from calls;
insert into api_keys (id, user_id, name, lookup, last4, scopes)
select gen_random_uuid(), p.user_id, 'k', 'k' || i, '-', '{{}}' from generate_series(1, 10000) i
  join people p on p.n = 1 + i % (select max(n) from people);
insert into api_keys (id, user_id, name, lookup, last4, scopes, is_delegated, expires_at, allowance_tokens,
                      allowance_window, root_id, ancestors)
select gen_random_uuid(), k.user_id, 'k', 'child ' || k.lookup, '-', '{{}}', true, now() + interval '1 hour', 10,
       'total', k.id, array[k.id]
  from api_keys k;
create temporary table waiting as
select pg_temp.id_at(now() - interval '1 hour' * (1 - i::float / {queued})) as id, i as n, p.user_id, p.period_id,
       t.tool_id, t.version_id,
       -- The first person has most of it; of each hundred one is ready and of each thousand one is running.
       i % 100 = 0 as placed, i % 1000 = 0 as running
  from generate_series(1, {queued}) i
  join people p on p.n = case when i % 10 < 7 then 1 else 1 + i % (select max(n) from people) end
  join things t on t.n = 1 + i % (select max(n) from things);
insert into invocations (id, user_id, period_id, tool_id, tool_version_id, input, held, request_id, expires_at)
select id, user_id, period_id, tool_id, version_id, '{{}}', 10, 'scale', now() + interval '1 day' from waiting;
insert into queue (id, user_id, period_id, tool_id, tool_version_id, held, timeout_seconds, slot, start_tag, due_at,
                   expires_at, token, worker, claimed_at, lease_expires_at, attempts, started_at)
select id, user_id, period_id, tool_id, version_id, 10, 30, case when placed then 1 + n % 100 end,
       case when placed then n end, now() - interval '1 hour' * (1 - n::float / {queued}), now() + interval '1 day',
       case when running then gen_random_uuid() end, case when running then '{worker}'::uuid end,
       case when running then now() end, case when running then now() + interval '1 minute' end,
       case when running then 1 else 0 end, case when running then now() end
  from waiting;
select setval('vt', {queued} / 2);
set session_replication_role = origin;
"""


def fill(connection: psycopg.Connection[Any], *, calls: int, queued: int, worker: UUID) -> None:
    """Ended and open invocations over the accounts and tools that are there, with everything that belongs to them."""
    connection.execute(_FILL.format(calls=calls, queued=queued, worker=worker))
    connection.commit()
    connection.autocommit = True
    connection.execute("vacuum analyze")
    connection.autocommit = False


def explain(
    connection: psycopg.Connection[Any], statement: TextClause | Query[Any], values: Mapping[str, Any], *, generic: bool
) -> str:
    """How the statement is carried out, prepared, planned for these values or for any. Leaves nothing behind."""
    try:
        connection.execute(f"set local plan_cache_mode = force_{'generic' if generic else 'custom'}_plan")
        lines = explained(connection, statement, values, "analyze, buffers, costs off")
        return "\n".join(row[0] for row in lines)
    finally:
        connection.rollback()


def explained(
    connection: psycopg.Connection[Any], statement: TextClause | Query[Any], values: Mapping[str, Any], options: str
) -> list[Any]:
    """What EXPLAIN says with these options, of the statement prepared. What it changes is not rolled back here."""
    with _prepared(connection, statement, values) as execute:
        return connection.execute(f"explain ({options}) {execute}").fetchall()


def planned_once(
    connection: psycopg.Connection[Any], statement: TextClause | Query[Any], values: Mapping[str, Any]
) -> bool:
    """Whether it is planned for any values in the end: the first five times it is planned for these."""
    with _prepared(connection, statement, values) as execute:
        for _ in range(7):
            connection.execute(execute)
        return bool(connection.execute("select generic_plans > 0 from pg_prepared_statements").fetchall()[0][0])


@contextmanager
def _prepared(
    connection: psycopg.Connection[Any], statement: TextClause | Query[Any], values: Mapping[str, Any]
) -> Iterator[str]:
    """What executes it with these values."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    query = re.sub(r"(?<![:\w]):(\w+)", number, statement.text)
    try:
        connection.execute(f"prepare wanted as {query}")
        literals = [psycopg.sql.Literal(_plain(values[name])).as_string(connection) for name in names]
        yield f"execute wanted({', '.join(literals)})"
    finally:
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.INERROR:
            connection.execute("deallocate wanted")


def _plain(value: Any) -> Any:
    return [str(each) for each in value] if isinstance(value, list) else value


_SCANNED = re.compile(r"Seq Scan on (\w+)")
_MILLISECONDS = re.compile(r"Execution Time: ([\d.]+) ms")
_BLOCKS = re.compile(r"Buffers: shared (?:hit=(\d+))?(?: read=(\d+))?")


def scanned(plan: str) -> set[str]:
    """Tables that are read from end to end."""
    return set(_SCANNED.findall(plan))


def cost(plan: str) -> tuple[float, int]:
    """Milliseconds, and blocks touched."""
    time, blocks = _MILLISECONDS.search(plan), _BLOCKS.search(plan)
    assert time is not None
    touched = sum(int(n or 0) for n in blocks.groups()) if blocks else 0
    return float(time[1]), touched
