"""The invariants as queries over the rows, looked at when everything is at rest."""

from __future__ import annotations

from typing import Final

from tools.faults.world import THREADS, WEB, WORKERS, World

#: Sessions that all pools together may have: 16 and two of the heartbeat thread for each process, and our own.
SESSIONS = (WEB + WORKERS + 2) * 20 + 10
_QUERIES: Final[dict[str, str]] = {
    "I3 one token, one attempt": "select token from attempts group by 1 having count(*) > 1",
    "I4 nobody owns what another one owns": """
        select invocation_id, n from (
          select invocation_id, n, started_at, lag(ended_at) over (partition by invocation_id order by n) as before
            from attempts) a where before > started_at""",
    "I5 times are in order": """
        select id from invocations where status <> 'open' and not (
          finished_at >= coalesce(started_at, created_at) and coalesce(started_at, created_at) >= created_at)""",
    "I1 nothing is open at rest": "select id from queue where due_at <= now()",
    "I13 nothing is held at rest": "select q.id from queue q where q.due_at <= now()",
    "I12 amounts are never negative": """
        select invocation_id from usage_logs where tokens_used < 0 or tokens_used > held""",
    "I26 one event, one receiver, one delivery": """
        select event_id from deliveries group by event_id, endpoint_id, url having count(*) > 1""",
    "I16 no transaction is left open": """
        select pid from pg_stat_activity where state like 'idle in transaction%%'
           and state_change < now() - interval '10 s' and pid <> pg_backend_pid()""",
    "I17 at no instant more than was granted": """
        with moves as (
          select period_id, created_at as at, held as amount, 0 as second from invocations
          union all
          select period_id, finished_at, charged - held, 1 from invocations where finished_at is not null),
        sums as (select period_id, sum(amount) over (partition by period_id order by at, second) as taken from moves),
        g as (select period_id, sum(tokens) as granted from grants where kind <> 'expiry' group by 1)
        select s.period_id, max(s.taken), g.granted from sums s join g using (period_id)
         group by s.period_id, g.granted having max(s.taken) > g.granted""",
}


def broken(world: World) -> list[str]:
    """The laws that do not hold."""
    found = []
    for name, query in _QUERIES.items():
        if rows := world.rows(query.replace("%%", "%")):
            found.append(f"{name}: {len(rows)}, {rows[0]} among them")
    sessions = world.number("select count(*) from pg_stat_activity where backend_type = 'client backend'")
    if sessions > SESSIONS:
        found.append(f"I16 {sessions} sessions in PostgreSQL")
    if world.messages > WORKERS * THREADS + WEB:
        found.append(f"I18 {world.messages} messages waited unread for {WORKERS * THREADS} threads")
    return found
