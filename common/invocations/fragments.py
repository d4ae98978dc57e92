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
#: How many rows one statement completes or claims. (A constant, so that the planner knows.)
MOST_AT_ONCE: Final = 8
#: A lease ends so many seconds after the tool's own time limit.
GRACE_SECONDS: Final = 30

# -- events and their deliveries -------------------------------------------------------------------------------

#: Of the rows of `f`: what each is about is in `filters`.
DELIVERIES = """
insert into deliveries (id, event_id, user_id, endpoint_id, url)
select uuid7(), f.event_id, f.user_id, e.id, null
  from f join webhook_endpoints e on e.user_id = f.user_id and e.status = 'enabled' and e.events && f.filters
union all
select uuid7(), f.event_id, f.user_id, null, f.webhook_url
  from f where f.webhook_url is not null and coalesce(f.webhook_events, array['completed']) && f.filters
returning 1
"""

# -- claiming the next row ----------------------------------------------------------------------------------------

#: Tokens are an array: the first row in fair order gets the first, whatever its tool; the others go to the rows behind
#: it that may be claimed together with it (`quick`: tool versions; see `claiming.ClaimOptions`).
_TOKENS = "cast(:next_tokens as uuid[])"
_READY = "token is null and slot is not null and expires_at > now() and not tool_id = any(cast(:paused as uuid[]))"
_QUICK = "tool_version_id = any(cast(:quick as uuid[])) and attempts = 0"


def ready(low: str) -> str:
    """The rows to claim, `n`: the one that is due first, and more if it is quick. `low`: where to look from."""
    return f"""
n1 as (
  select id, start_tag, {_QUICK} as quick from queue where {_READY} and start_tag >= {low} - {SLACK}
   order by start_tag limit 1 for update skip locked),
n2 as (
  select id, start_tag from queue
   where {_READY} and {_QUICK} and start_tag >= (select start_tag from n1) and id <> (select id from n1)
     and (select quick from n1) and cardinality({_TOKENS}) > 1
   order by start_tag limit {MOST_AT_ONCE - 1} for update skip locked),
n as (
  select * from (
    select id, row_number() over (order by start_tag) as at
      from (select id, start_tag from n1 union all select id, start_tag from n2) x) x
   where at <= cardinality({_TOKENS}))"""


CLAIM = f"""token = ({_TOKENS})[n.at], worker = cast(:worker as uuid), attempts = q.attempts + 1,
      claimed_at = now(), started_at = coalesce(q.started_at, now()),
      lease_expires_at = now() + make_interval(secs => q.timeout_seconds + {GRACE_SECONDS})"""

TASK = """q.id, q.user_id, q.period_id, q.tool_id, q.tool_version_id, q.held, q.attempts, q.crash_count, q.start_tag,
            q.expires_at, q.token, q.slot, q.moves"""

#: `invocation.running` is an event of the first attempt only. Its id is the fencing token.
STARTED = """
insert into events (id, user_id, type, invocation_id, attempts)
select t.token, t.user_id, 'invocation.running', t.id, t.attempts from t where t.attempts = 1"""
STARTED_DELIVERIES = """
insert into deliveries (id, event_id, user_id, endpoint_id, url)
select uuid7(), t.token, t.user_id, e.id, null
  from t join webhook_endpoints e on e.user_id = t.user_id and e.status = 'enabled'
         and e.events && array['invocation.running'] where t.attempts = 1
union all
select uuid7(), t.token, t.user_id, null, i.webhook_url
  from t join invocations i on i.id = t.id
 where t.attempts = 1 and i.webhook_url is not null and i.webhook_events && array['invocation.running']
returning 1"""

#: By the first row in fair order, which the others have only joined: what is due before them stays in sight.
MOVED_CLOCK = """case when t.start_tag = (select min(start_tag) from t) and t.start_tag > (select last_value from vt)
            then setval('vt', t.start_tag) end"""
CLAIMED_COLUMNS = f"""t.id as next_id, t.user_id as next_user_id, t.period_id as next_period_id,
       t.tool_id as next_tool_id, t.tool_version_id as next_tool_version_id, t.held as next_held,
       t.attempts as next_attempts, t.crash_count as next_crash_count, t.token as next_token,
       coalesce(cast(ti.input_as_sent as text), cast(ti.input as text)) as next_input,
       ti.request_id as next_request_id, ti.traceparent as next_traceparent, ti.stream as next_stream,
       extract(epoch from t.expires_at - now()) as next_seconds_left,
       {MOVED_CLOCK} as vt"""

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
         token = case when x.taken then ({_TOKENS})[1] end,
         worker = case when x.taken then cast(:worker as uuid) end,
         attempts = q.attempts + case when x.taken then 1 else 0 end,
         claimed_at = case when x.taken then now() end,
         started_at = case when x.taken then coalesce(q.started_at, now()) else q.started_at end,
         lease_expires_at = case when x.taken then now() + make_interval(secs => q.timeout_seconds + {GRACE_SECONDS})
         end from h, d, (select not exists (select 1 from nu) as taken) x where q.id = h.id
  returning {TASK})"""

CLAIM_NEXT = f"""{ready("(select start_tag from d)")},
nu as (update queue q set {CLAIM} from n where q.id = n.id returning {TASK}),
{SUCCESSOR},
{SUCCESSOR_CLAIMED},
t as (select * from nu union all select * from hu where hu.token is not null),
st as ({STARTED}),
sd as ({STARTED_DELIVERIES})"""

#: The successor and its slot, for the budget gate.
SUCCESSOR_COLUMNS = "hu.id as successor, hu.slot as successor_slot, hu.moves as successor_moves"
