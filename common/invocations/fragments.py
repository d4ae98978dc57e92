# ruff: noqa: S608  (the statements are put together from constants)
"""SQL that several stages share. Each statement is one round trip and one constant text, so that the server prepares it
once.

Three rules hold in all of them:

* what claims the next row *depends* on what completes the last one (`start_tag >= (select start_tag from d) - 20`),
because a CTE that nothing reads runs last, and then two workers can wait for each other;
* the fenced delete names the token, so a worker that lost its row deletes nothing, and everything that follows
  from `d` follows from nothing;
* times are the database's.
"""

from __future__ import annotations

from typing import Final

from common.models.invocations import PRIORITIES

#: How far below the virtual clock ready rows are looked for first: older index entries are mostly dead.
SLACK: Final = 20
#: A lease ends so many seconds after the tool's own time limit.
GRACE_SECONDS: Final = 30

# -- events and their deliveries -------------------------------------------------------------------------------

DELIVERIES = """
insert into deliveries (id, event_id, user_id, endpoint_id, url)
select uuid7(), cast(:event_id as uuid), f.user_id, e.id, null
  from f join webhook_endpoints e on e.user_id = f.user_id and e.status = 'enabled' and e.events && f.filters
union all
select uuid7(), cast(:event_id as uuid), f.user_id, null, f.webhook_url
  from f where f.webhook_url is not null and coalesce(f.webhook_events, array['completed']) && f.filters
returning 1
"""

# -- claiming the next row ----------------------------------------------------------------------------------------

READY = f"""
  select id, start_tag from queue
   where token is null and slot is not null and start_tag >= {{low}} - {SLACK}
     and expires_at > now() and not tool_id = any(cast(:paused as uuid[]))
   order by start_tag limit 1 for update skip locked"""

CLAIM = f"""token = cast(:next_token as uuid), worker = cast(:worker as uuid), attempts = q.attempts + 1,
      claimed_at = now(), started_at = coalesce(q.started_at, now()),
      lease_expires_at = now() + make_interval(secs => q.timeout_seconds + {GRACE_SECONDS})"""

TASK = """q.id, q.user_id, q.period_id, q.tool_id, q.tool_version_id, q.held, q.attempts, q.crash_count, q.start_tag,
            q.expires_at, q.token, q.slot, q.moves"""

#: `invocation.running` is an event of the first attempt only. Its id is the fencing token.
STARTED = """
insert into events (id, user_id, type, invocation_id, attempts)
select cast(:next_token as uuid), t.user_id, 'invocation.running', t.id, t.attempts from t where t.attempts = 1"""
STARTED_DELIVERIES = """
insert into deliveries (id, event_id, user_id, endpoint_id, url)
select uuid7(), cast(:next_token as uuid), t.user_id, e.id, null
  from t join webhook_endpoints e on e.user_id = t.user_id and e.status = 'enabled'
         and e.events && array['invocation.running'] where t.attempts = 1
union all
select uuid7(), cast(:next_token as uuid), t.user_id, null, i.webhook_url
  from t join invocations i on i.id = t.id
 where t.attempts = 1 and i.webhook_url is not null and i.webhook_events && array['invocation.running']
returning 1"""

CLAIMED_COLUMNS = """t.id as next_id, t.user_id as next_user_id, t.period_id as next_period_id,
       t.tool_id as next_tool_id, t.tool_version_id as next_tool_version_id, t.held as next_held,
       t.attempts as next_attempts, t.crash_count as next_crash_count, t.token as next_token,
       coalesce(cast(ti.input_as_sent as text), cast(ti.input as text)) as next_input,
       ti.request_id as next_request_id, ti.traceparent as next_traceparent, ti.stream as next_stream,
       extract(epoch from t.expires_at - now()) as next_seconds_left,
       case when t.start_tag > (select last_value from vt) then setval('vt', t.start_tag) end as vt"""

# -- completing a row ----------------------------------------------------------------------------------------------

DELETED = """id, user_id, period_id, tool_id, tool_version_id, held, slot, start_tag, moves, attempts, token, worker,
            claimed_at, started_at, cancel_at, last_error, api_keys, capped_key"""

COMPLETION = """
s as (
  select d.*, case when d.cancel_at is not null and cast(:status as text) <> 'succeeded'
                        and cast(:cost as bigint) = 0 then 'canceled'
                   else cast(:status as text) end as status from d),
o as (
  select s.*, s.status in ('succeeded', 'canceled') as has_output,
         case when s.status = 'canceled' then cast(:shown_cost as bigint) else cast(:cost as bigint) end as cost,
         case when s.status = 'canceled' then cast(:shown_units as numeric) else cast(:units as numeric) end as units,
         case when s.status = 'canceled' then cast(:shown_basis as text) else cast(:basis as text) end as basis
    from s),
f as (
  update invocations i
     set status = o.status,
         output = case when o.has_output then cast(:output as jsonb) end,
         output_bytes = case when o.has_output then octet_length(cast(:output as text)) end,
         output_as_sent = case when o.has_output then cast(:output_as_sent as json) end,
         error_code = case when o.status = 'failed' then cast(:error_code as text) end,
         error_detail = case when o.status = 'failed' then cast(:error_detail as text) end,
         charged = least(o.cost, o.held), units = o.units, basis = o.basis,
         attempts = o.attempts, cancel_requested_at = o.cancel_at,
         is_failure = case when o.status <> 'succeeded' then true end,
         started_at = greatest(o.started_at, case when o.started_at is not null then i.created_at end),
         finished_at = greatest(now(), o.started_at, i.created_at)
    from o where i.id = o.id
  returning i.id, i.user_id, i.api_key_id, i.api_key_root_id, i.end_user, o.api_keys, i.webhook_url, i.webhook_events,
            i.status, i.charged, i.units, o.held, o.cost,
            o.period_id, o.tool_id, o.tool_version_id, o.token, o.worker, o.attempts as n, o.claimed_at, o.slot,
            o.moves, array['invocation.' || i.status, 'completed'] as filters),
a as (
  insert into attempts (invocation_id, n, token, worker, started_at, ended_at, outcome, http_status, detail,
                        operator_detail)
  select f.id, f.n, f.token, f.worker, f.claimed_at, greatest(now(), f.claimed_at),
         case when f.status = 'canceled' then 'canceled' else cast(:outcome as text) end,
         cast(:http_status as smallint), cast(:error_detail as text), cast(:operator_detail as text)
    from f where f.token is not null),
u as (
  insert into usage_logs (invocation_id, id, user_id, period_id, tool_id, tool_version_id, api_key_id,
                          api_key_root_id, end_user, status,
                          tokens_used, units, held, overrun, latency_ms, http_status)
  select f.id, cast(:event_id as uuid), f.user_id, f.period_id, f.tool_id, f.tool_version_id, f.api_key_id,
         f.api_key_root_id, f.end_user,
         case when f.status = 'canceled' then 'canceled' else cast(:usage_status as text) end, f.charged, f.units,
         f.held,
         greatest(0, f.cost - f.held),
         cast(:latency_ms as integer), cast(:http_status as smallint)
    from f),
ev as (
  insert into events (id, user_id, type, invocation_id, attempts)
  select cast(:event_id as uuid), f.user_id, 'invocation.' || f.status, f.id, f.n from f),
de as (""" + DELIVERIES + ")"  # fmt: skip

# -- what a call would hold ----------------------------------------------------------------------------------------


def most_held(called: str) -> str:
    """The most that a call of a tool can hold, its own price or that of its fallback; no row: it cannot be called.

    `called`: its id, of no table that is called `c`, `f`, `fv` or `v`.
    """
    return f"""
  select greatest(v.max_tokens, (
           select fv.max_tokens from tools f join tool_versions fv on fv.tool_id = f.id and fv.version = f.version
            where f.id = c.fallback_id and f.is_active and f.archived_at is null)) as tokens
    from tools c join tool_versions v on v.tool_id = c.id and v.version = c.version
   where c.id = {called} and c.is_active and c.archived_at is null"""


# -- rows that wait for their API key: not due by `due_at`, until a slot of the key is theirs --------------------------

#: Their time of being due, when the API key gets them among those that it may have at once.
ADMITTED = "due_at = coalesce(q.key_due_at, q.due_at), key_due_at = null"


def waits_again(due: str) -> str:
    """A row loses its slot, and what it has of its API key's, until it is due again."""
    return f"""due_at = case when q.capped_key is null then {due} else 'infinity' end,
         key_due_at = case when q.capped_key is not null then {due} end"""


# -- waiting rows -------------------------------------------------------------------------------------------------


def waiting(*, period: str, columns: str, due: str, limit: str) -> str:
    """The account's waiting rows that are due and whose tool is not paused: by priority, then the oldest first.

    Priority by priority, so that each reads no more of the index than it returns, however many wait or are not due yet.
    Nothing is asked of the lower ones once `limit` is reached: rows come in the order of the values.
    """
    classes = ", ".join(f"({priority})" for priority in sorted(PRIORITIES, reverse=True))
    return f"""
  select q.* from (values {classes}) class(priority) cross join lateral (
    select {columns} from queue q
     where q.period_id = {period} and q.slot is null and q.priority = class.priority and q.due_at <= {due}
       and q.expires_at > now() and not q.tool_id = any(cast(:paused as uuid[]))
     order by q.due_at limit {limit}) q
   limit {limit.split(maxsplit=1)[0]}"""


# -- the successor: who gets the slot that becomes free -----------------------------------------------------------

#: The slot that becomes free goes to the account's first waiting row that is due. When nothing else is ready and the
#: worker wants more work, the statement claims that successor as well, because it cannot see it as a ready row.
#: The account is compared with one value, not joined: only then is just its oldest row read from the index.
#: Rows that wait for their API key come into question if the slot was that of a row with this key: then what the key
#: has stays as it is. (Of another key, only the gate knows whether it may have one more: see `placing`.)
#:
#: The successor's turn comes after one turn of each row of the account that has a slot (`width`, as far as the worker
#: knows it; 0: unknown), so an account with a hundred slots has as many turns as one with two. (With the number of the
#: slot alone, the first slots would come round so quickly that an account of N slots had 1 + 1/2 + … + 1/N turns.)
_OF_THE_FREE_SLOT = "(select d.period_id from d where d.slot is not null)"
_FIRST = waiting(
    period=_OF_THE_FREE_SLOT, columns="q.id, q.priority, q.due_at", due="now()", limit="1 for update skip locked"
)
_FIRST_OF_KEY = f"""
  select q.id, q.priority, q.key_due_at as due_at from queue q
   where q.period_id = {_OF_THE_FREE_SLOT} and q.capped_key = (select d.capped_key from d)
     and q.key_due_at <= now() and q.expires_at > now() and not q.tool_id = any(cast(:paused as uuid[]))
   order by q.priority desc, q.key_due_at limit 1 for update skip locked"""
SUCCESSOR = f"""
h as (
  select w.id from (select * from ({_FIRST}) a union all select * from ({_FIRST_OF_KEY}) k) w
   order by w.priority desc, w.due_at limit 1)"""

_TURN = """greatest((select last_value from vt) + 1,
                  d.start_tag + coalesce(nullif(cast(:width as integer), 0), d.slot))"""
SUCCESSOR_WITH_SLOT = f"""
hu as (
  update queue q set slot = d.slot, start_tag = {_TURN}, moves = q.moves + 1, {ADMITTED}
    from h, d where q.id = h.id returning q.id, q.slot, q.moves)"""

SUCCESSOR_CLAIMED = f"""
hu as (
  update queue q set slot = d.slot, start_tag = {_TURN}, moves = q.moves + 1, {ADMITTED},
         token = case when x.taken then cast(:next_token as uuid) end,
         worker = case when x.taken then cast(:worker as uuid) end,
         attempts = q.attempts + case when x.taken then 1 else 0 end,
         claimed_at = case when x.taken then now() end,
         started_at = case when x.taken then coalesce(q.started_at, now()) else q.started_at end,
         lease_expires_at = case when x.taken then now() + make_interval(secs => q.timeout_seconds + {GRACE_SECONDS})
         end from h, d, (select not exists (select 1 from nu) as taken) x where q.id = h.id
  returning {TASK})"""

CLAIM_NEXT = f"""
n as ({READY.format(low="(select start_tag from d)")}),
nu as (update queue q set {CLAIM} from n where q.id = n.id returning {TASK}),
{SUCCESSOR},
{SUCCESSOR_CLAIMED},
t as (select * from nu union all select * from hu where hu.token is not null),
st as ({STARTED}),
sd as ({STARTED_DELIVERIES})"""

#: The successor and its slot, for the budget gate.
SUCCESSOR_COLUMNS = "hu.id as successor, hu.slot as successor_slot, hu.moves as successor_moves"
