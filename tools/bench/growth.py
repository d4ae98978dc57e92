"""Years of a platform's life in minutes: ended invocations with everything that belongs to them, as rows.

`fill` writes what submits and ends would have written: the invocation, its attempt, its usage row and its two events'
worth of nothing (events are kept for thirty days only). Spread over the accounts and tools that there are and over the
days before now, so that months, partitions and indexes are what they would be.
"""

from __future__ import annotations

import threading
from time import perf_counter
from uuid import UUID

import psycopg

from tools.bench.ground import Ground

#: Rows of one transaction: the rollup takes in a transaction whole, within one statement's time.
CHUNK = 50_000
DAYS = 25
#: One row in so many, all of the first account, has what lists are filtered by.
MARKED = 100
END_USER, KEY, RERUN_OF = "somebody", UUID(int=1), UUID(int=2)
#: Two connections, because the machine has at least two cores.
WRITERS = 2
#: Row `n` of `total`. Ids are of the moment they stand for; 94 % end well, the first account has a quarter of all.
_ROWS = """
create temporary table calls on commit drop as
select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || '7' || substr(seed, 1, 3) || '8'
        || substr(seed, 4, 15))::uuid as id,
       (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || '7' || substr(seed, 19, 3) || '9'
        || substr(seed, 4, 15))::uuid as usage_id,
       x.n, x.n %% {marked} = 0 as marked, moment, p.user_id, p.period_id, t.tool_id, t.version_id,
       case when x.n %% 50 < 47 then 'succeeded' when x.n %% 50 < 49 then 'failed' else 'canceled' end as status
  from (select n, now() - interval '{days} days' * (1 - n::float8 / %(total)s) as moment, md5(n::text) as seed
          from generate_series(%(first)s::bigint, %(last)s::bigint) n) x
  join people p on p.n = case when x.n %% 4 = 0 then 1 else 1 + x.n %% (select count(*) from people) end
  join things t on t.n = 1 + x.n %% (select count(*) from things)
"""
_PEOPLE = """
create temporary table people as
select row_number() over (order by user_id) as n, user_id, id as period_id from periods where closed_at is null
"""
_THINGS = """
create temporary table things as
select row_number() over (order by t.id) as n, t.id as tool_id, v.id as version_id
  from tools t join tool_versions v on v.tool_id = t.id and v.version = t.version where t.archived_at is null
"""
_INVOCATIONS = """
insert into invocations (id, user_id, period_id, tool_id, tool_version_id, status, input, output, held, charged,
                         attempts, request_id, created_at, started_at, finished_at, expires_at, error_code,
                         error_detail, is_failure, failure, metadata, end_user, api_key_id, rerun_of)
select id, user_id, period_id, tool_id, version_id, status, '{"text": "some words"}',
       case when status = 'succeeded' then '{"answer": "some words that a tool would say", "units": 7}'::jsonb end,
       50, case when status = 'succeeded' then 8 else 0 end, 1, id::text, moment, moment, moment,
       moment + interval '1 day', case when status = 'failed' then 'tool_failed' end,
       case when status = 'failed' then 'The tool answered 500.' end, case when status <> 'succeeded' then true end,
       nullif(status, 'succeeded'),
       case when marked then jsonb_build_object('env', 'prod', 'order', n::text) else '{}' end,
       case when marked then 'somebody' end, case when marked then '00000000-0000-0000-0000-000000000001'::uuid end,
       case when marked then '00000000-0000-0000-0000-000000000002'::uuid end
  from calls
"""
_TERMS = """
insert into metadata_terms (term, invocation_id)
select unnest(invocation_terms(user_id, metadata)), id from invocations where id in (select id from calls where marked)
"""
_ATTEMPTS = """
insert into attempts (invocation_id, n, token, worker, started_at, ended_at, outcome, http_status)
select id, 1, usage_id, usage_id, moment, moment, case status when 'failed' then 'tool_failed' else status end, 200
  from calls
"""
_USAGE = """
insert into usage_logs (invocation_id, id, user_id, period_id, tool_id, tool_version_id, status, tokens_used, held,
                        latency_ms, http_status, created_at)
select id, usage_id, user_id, period_id, tool_id, version_id,
       case status when 'succeeded' then 'success' when 'failed' then 'error' else 'canceled' end,
       case when status = 'succeeded' then 8 else 0 end, 50, abs(hashtext(id::text)) %% 2000, 200, moment
  from calls
"""


def fill(ground: Ground, rows: int) -> float:
    """So many ended invocations; returns the seconds that it took."""
    begun, todo = perf_counter(), [(n, min(n + CHUNK, rows) - 1) for n in range(0, rows, CHUNK)]
    failures: list[BaseException] = []
    ground.sql(f"select usage_logs_add_month(now() - interval '{DAYS} days'), usage_logs_add_month(now())")
    writers = [threading.Thread(target=_write, args=(ground, rows, todo, failures)) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    if failures:
        raise failures[0]
    ground.sql("vacuum (analyze) invocations, metadata_terms, attempts, usage_logs")
    return perf_counter() - begun


def _write(ground: Ground, rows: int, todo: list[tuple[int, int]], failures: list[BaseException]) -> None:
    """Foreign keys are right by the way the rows are made; looking each of them up would take as long again."""
    try:
        with psycopg.connect(ground.settings.database_url, autocommit=True) as connection:
            connection.execute("set session_replication_role = replica; set synchronous_commit = off")
            connection.execute(_PEOPLE)
            connection.execute(_THINGS)
            while todo:
                try:
                    first, last = todo.pop()
                except IndexError:
                    break
                with connection.transaction():
                    connection.execute(
                        _ROWS.format(days=DAYS, marked=MARKED), {"total": rows, "first": first, "last": last}
                    )
                    for statement in (_INVOCATIONS, _TERMS, _ATTEMPTS, _USAGE.replace("%%", "%")):
                        connection.execute(statement)
    except psycopg.Error as error:
        failures.append(error)


def bytes_of(ground: Ground, rows: int) -> dict[str, float]:
    """Bytes on disk for each of the rows, by table, indexes included."""
    query = """
    select coalesce(parent.relname, c.relname), sum(pg_total_relation_size(c.oid))::bigint
      from pg_class c left join pg_inherits i on i.inhrelid = c.oid
           left join pg_class parent on parent.oid = i.inhparent
     where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
     group by 1 having sum(pg_total_relation_size(c.oid)) > 1e6
    """
    return {str(name): size / rows for name, size in ground.sql(query)}
