"""An invariant of the ledger: no API key has used more than its allowance, in any window that it has had."""

from __future__ import annotations

from typing import Final

from sqlalchemy import TextClause, text

#: From single usage rows, unlike the gate, which is made from sums; and what is held now counts in the current window.
WITHIN_ALLOWANCES: Final[TextClause] = text("""
with k as (select id, root_id, allowance_tokens as tokens, allowance_window as kind from api_keys
            where allowance_tokens is not null),
m as (
  select id as api_key_id, id as key from k
  union all
  select c.id, a.key from api_keys c cross join unnest(c.ancestors) a(key) where a.key <> c.root_id),
u as (
  select k.*, u.tokens_used, u.created_at
    from k join m on m.key = k.id join usage_logs u on u.api_key_id = m.api_key_id
  union all
  select k.*, u.tokens_used, u.created_at from k join usage_logs u on u.api_key_root_id = k.id),
w as (
  select id, tokens, sum(tokens_used) as charged,
         case kind when 'total' then null else date_trunc(kind, created_at, 'UTC') end as starts_at
    from u group by id, tokens, starts_at),
q as (select a.key, sum(q.held) as held from queue q cross join unnest(q.api_keys) a(key) group by 1),
spent as (
  select k.id, k.tokens, coalesce(w.charged, 0) as charged, coalesce(q.held, 0) as held
    from k left join q on q.key = k.id
    left join w on w.id = k.id and w.starts_at is not distinct from
              case k.kind when 'total' then null else date_trunc(k.kind, now(), 'UTC') end
  union all
  select id, tokens, charged, 0 from w)
select distinct id, format('allowance %s, charged %s, held %s', tokens, charged, held)
  from spent where charged + held > tokens
""")
