# ruff: noqa: S608  (the statements are put together from constants)
"""The statements of the story. Each is one round trip and one constant text, so that the server prepares it once.

The big ones are put together from the fragments below. Three rules hold in all of them:

* what takes the next row *depends* on what ends the last one (`rank >= (select rank from d) - 20`), because a CTE
  that nothing reads runs last, and then two workers can wait for each other;
* the fenced delete names the token, so a worker that lost its row deletes nothing, and everything that follows
  from `d` follows from nothing;
* times are the database's.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import TextClause, text

from common.budgets import SERVER

#: How far below the virtual clock ready rows are looked for first: older index entries are mostly dead.
SLACK: Final = 20
#: A running row is given up so many seconds after its tool's own time limit.
GRACE_SECONDS: Final = 30

# -- submit --------------------------------------------------------------------------------------------------

_DELIVERIES = """
insert into deliveries (id, event_id, user_id, endpoint_id, url)
select uuid7(), cast(:event_id as uuid), f.user_id, e.id, null
  from f join webhook_endpoints e on e.user_id = f.user_id and e.status = 'enabled' and e.events && f.filters
union all
select uuid7(), cast(:event_id as uuid), f.user_id, null, f.webhook_url
  from f where f.webhook_url is not null and coalesce(f.webhook_events, array['completed']) && f.filters
returning 1
"""

#: The row, its key, its place in the queue and its event, under the epoch and by the run of PostgreSQL that the hold is
#: for, and with the version that the tool has: or nothing.
SUBMIT: Final = text(f"""
with p as materialized (
  select id from periods
   where id = :period_id and epoch = :epoch and closed_at is null and access_ended_at is null and ends_at > now()
     and {SERVER} = :server
     and exists (select 1 from tools t where t.id = :tool_id and t.version = :tool_version and t.is_active
                    and t.archived_at is null)
     for share),
k as (
  insert into idempotency_keys (user_id, key, request_hash, invocation_id)
  select :user_id, cast(:key as text), :request_hash, :id from p where cast(:key as text) is not null),
f as (
  insert into invocations (id, user_id, period_id, tool_id, tool_version_id, api_key_id, input, input_bytes,
                           input_as_sent, metadata, metadata_as_sent, webhook_url, webhook_events, held, request_id,
                           traceparent, expires_at)
  select :id, :user_id, p.id, :tool_id, :tool_version_id, cast(:api_key_id as uuid), cast(:input as jsonb),
         octet_length(cast(:input as text)), cast(:input_as_sent as json), cast(:metadata as jsonb),
         cast(:metadata_as_sent as json), cast(:webhook_url as text), cast(:webhook_events as text[]), :held,
         :request_id, cast(:traceparent as text), now() + make_interval(secs => :expires_in)
    from p
  returning id, user_id, expires_at, created_at, webhook_url, webhook_events, array['invocation.queued'] as filters),
q as (
  insert into queue (id, user_id, period_id, tool_id, tool_version_id, held, timeout_seconds, place, rank, expires_at)
  select f.id, f.user_id, :period_id, :tool_id, :tool_version_id, :held, :timeout_seconds, cast(:place as integer),
         (select last_value from vt) + cast(:place as integer), f.expires_at
    from f),
ev as (
  insert into events (id, user_id, type, invocation_id)
  select cast(:event_id as uuid), f.user_id, 'invocation.queued', f.id from f),
de as ({_DELIVERIES})
select f.id, f.created_at, f.expires_at, (select count(*) from de) as deliveries from f
""")

KEY: Final = text("""
select k.request_hash, k.invocation_id, k.created_at <= now() - interval '24 hours' as old, i.tool_id, t.slug
  from idempotency_keys k join invocations i on i.id = k.invocation_id join tools t on t.id = i.tool_id
 where k.user_id = :user_id and k.key = :key
""")
FORGET_KEY: Final = text("""
delete from idempotency_keys
 where user_id = :user_id and key = :key and created_at <= now() - interval '24 hours'
""")
EXISTS: Final = text("select id, created_at, expires_at from invocations where id = :id")
#: After it, nothing that was to commit under that epoch can: it commits before this, or not at all.
MOVE_EPOCH: Final = text("update periods set epoch = epoch + 1 where id = :period_id and epoch = :epoch")
PERIOD_STATE: Final = text(f"""
select epoch, {SERVER} as server, closed_at is null and access_ended_at is null and ends_at > now() as open
  from periods where id = :id
""")

# -- taking work ---------------------------------------------------------------------------------------------

_READY = f"""
  select id, rank from queue
   where token is null and place is not null and rank >= {{low}} - {SLACK}
     and expires_at > now() and not tool_id = any(cast(:paused as uuid[]))
   order by rank limit 1 for update skip locked"""

_TAKEN = f"""token = cast(:next_token as uuid), worker = cast(:worker as uuid), attempts = q.attempts + 1,
      taken_at = now(), started_at = coalesce(q.started_at, now()),
      give_up_at = now() + make_interval(secs => q.timeout_seconds + {GRACE_SECONDS})"""

_TASK = """q.id, q.user_id, q.period_id, q.tool_id, q.tool_version_id, q.held, q.attempts, q.losses, q.rank,
            q.expires_at, q.token, q.place, q.moves"""

#: A taken row is told of once, when it starts for the first time; the event is the next token's own id.
_STARTED = """
insert into events (id, user_id, type, invocation_id, attempts)
select cast(:next_token as uuid), t.user_id, 'invocation.running', t.id, t.attempts from t where t.attempts = 1"""
_STARTED_DELIVERIES = """
insert into deliveries (id, event_id, user_id, endpoint_id, url)
select uuid7(), cast(:next_token as uuid), t.user_id, e.id, null
  from t join webhook_endpoints e on e.user_id = t.user_id and e.status = 'enabled'
         and e.events && array['invocation.running'] where t.attempts = 1
union all
select uuid7(), cast(:next_token as uuid), t.user_id, null, i.webhook_url
  from t join invocations i on i.id = t.id
 where t.attempts = 1 and i.webhook_url is not null and i.webhook_events && array['invocation.running']
returning 1"""

_TASK_COLUMNS = """t.id as next_id, t.user_id as next_user_id, t.period_id as next_period_id,
       t.tool_id as next_tool_id, t.tool_version_id as next_tool_version_id, t.held as next_held,
       t.attempts as next_attempts, t.losses as next_losses, t.token as next_token,
       coalesce(cast(ti.input_as_sent as text), cast(ti.input as text)) as next_input,
       ti.request_id as next_request_id, ti.traceparent as next_traceparent,
       extract(epoch from t.expires_at - now()) as next_seconds_left,
       case when t.rank > (select last_value from vt) then setval('vt', t.rank) end as vt"""


def _take(low: str) -> TextClause:
    return text(f"""
with n as ({_READY.format(low=low)}),
t as (update queue q set {_TAKEN} from n where q.id = n.id returning {_TASK}),
st as ({_STARTED}),
sd as ({_STARTED_DELIVERIES})
select {_TASK_COLUMNS}, (select count(*) from sd) as deliveries from t join invocations ti on ti.id = t.id
""")


TAKE: Final = _take("(select last_value from vt)")
TAKE_FROM_THE_START: Final = _take(str(SLACK))

#: After a lost answer: did the statement that carried this new token take a row?
TAKEN_UNDER: Final = text(f"""
select {_TASK_COLUMNS.replace("case when t.rank > (select last_value from vt) then setval('vt', t.rank) end", "0")},
       1 as deliveries
  from queue t join invocations ti on ti.id = t.id where t.token = :token and t.give_up_at is not null
""")

SENDING: Final = text("""
update queue set sent_at = now() where id = :id and token = :token and sent_at is null and cancel_at is null
""")

#: Handing back what was not begun: nothing was tried, so the attempt does not count.
GIVE_BACK: Final = text("""
update queue set token = null, worker = null, taken_at = null, give_up_at = null, sent_at = null,
       attempts = attempts - 1, started_at = case when attempts = 1 then null else started_at end,
       rank = (select last_value from vt) + place
 where id = :id and token = :token and cancel_at is null
""")

# -- ending ----------------------------------------------------------------------------------------------------

_GONE = """id, user_id, period_id, tool_id, tool_version_id, held, place, rank, moves, attempts, token, worker,
            taken_at, started_at, cancel_at, last_error"""
_BY_TOKEN = f"delete from queue where id = :id and token = cast(:token as uuid) returning {_GONE}"
_BY_OWNER = f"delete from queue where id = :id and user_id = :user_id and token is null returning {_GONE}"
_BY_DEADLINE = f"""delete from queue where id = :id and token is null and expires_at <= now() returning {_GONE}"""

_FACTS = """
o as (
  select d.*, case when d.cancel_at is not null and cast(:status as text) <> 'succeeded'
                        and cast(:cost as bigint) = 0 then 'canceled'
                   else cast(:status as text) end as status from d),
f as (
  update invocations i
     set status = o.status,
         output = case when o.status = 'succeeded' then cast(:output as jsonb) end,
         output_bytes = case when o.status = 'succeeded' then octet_length(cast(:output as text)) end,
         output_as_sent = case when o.status = 'succeeded' then cast(:output_as_sent as json) end,
         error_code = case when o.status = 'failed' then cast(:error_code as text) end,
         error_detail = case when o.status = 'failed' then cast(:error_detail as text) end,
         charged = least(cast(:cost as bigint), o.held),
         attempts = o.attempts, cancel_requested_at = o.cancel_at,
         trouble = case when o.status <> 'succeeded' then true end,
         started_at = greatest(o.started_at, case when o.started_at is not null then i.created_at end),
         finished_at = greatest(now(), o.started_at, i.created_at)
    from o where i.id = o.id
  returning i.id, i.user_id, i.api_key_id, i.webhook_url, i.webhook_events, i.status, i.charged, o.held, o.period_id,
            o.tool_id, o.tool_version_id, o.token, o.worker, o.attempts as n, o.taken_at, o.place, o.moves,
            array['invocation.' || i.status, 'completed'] as filters),
a as (
  insert into attempts (invocation_id, n, token, worker, started_at, ended_at, outcome, http_status, detail,
                        operator_detail)
  select f.id, f.n, f.token, f.worker, f.taken_at, greatest(now(), f.taken_at),
         case when f.status = 'canceled' then 'canceled' else cast(:outcome as text) end,
         cast(:http_status as smallint), cast(:error_detail as text), cast(:operator_detail as text)
    from f where f.token is not null),
u as (
  insert into usage_logs (invocation_id, id, user_id, period_id, tool_id, tool_version_id, api_key_id, status,
                          tokens_used, held, overrun, latency_ms, http_status)
  select f.id, cast(:event_id as uuid), f.user_id, f.period_id, f.tool_id, f.tool_version_id, f.api_key_id,
         case when f.status = 'canceled' then 'canceled' else cast(:usage_status as text) end, f.charged, f.held,
         greatest(0, cast(:cost as bigint) - f.held),
         cast(:latency_ms as integer), cast(:http_status as smallint)
    from f),
ev as (
  insert into events (id, user_id, type, invocation_id, attempts)
  select cast(:event_id as uuid), f.user_id, 'invocation.' || f.status, f.id, f.n from f),
de as (""" + _DELIVERIES + ")"  # fmt: skip

#: The place that becomes free goes to the account's oldest parked row that is due; with nothing else ready, and a
#: worker that wants more, that successor is taken at once (it could not be seen as ready by this very statement).
#: The account is compared with one value, not joined: only then is its oldest row read from the index, and no other.
#:
#: Its turn comes after one of each row that the account has in a place (`width`, as far as the worker knows it; 0: it
#: does not): so an account with a hundred places has as many turns as one with two. (By its place alone, the first
#: places would come round so quickly that an account of N places has 1 + 1/2 + … + 1/N turns of one with one.)
_SUCCESSOR = """
h as (
  select q.id from queue q
   where q.period_id = (select d.period_id from d where d.place is not null) and q.place is null
     and q.due_at <= now() and q.expires_at > now() and not q.tool_id = any(cast(:paused as uuid[]))
   order by q.due_at limit 1 for update skip locked)"""

_TURN = """greatest((select last_value from vt) + 1,
                  d.rank + coalesce(nullif(cast(:width as integer), 0), d.place))"""
_SUCCESSOR_PLACED = f"""
hu as (
  update queue q set place = d.place, rank = {_TURN}, moves = q.moves + 1
    from h, d where q.id = h.id returning q.id, q.place, q.moves)"""

_SUCCESSOR_TAKEN = f"""
hu as (
  update queue q set place = d.place, rank = {_TURN}, moves = q.moves + 1,
         token = case when x.taken then cast(:next_token as uuid) end,
         worker = case when x.taken then cast(:worker as uuid) end,
         attempts = q.attempts + case when x.taken then 1 else 0 end,
         taken_at = case when x.taken then now() end,
         started_at = case when x.taken then coalesce(q.started_at, now()) else q.started_at end,
         give_up_at = case when x.taken then now() + make_interval(secs => q.timeout_seconds + {GRACE_SECONDS}) end
    from h, d, (select not exists (select 1 from nu) as taken) x where q.id = h.id
  returning {_TASK})"""

_NEXT = f"""
n as ({_READY.format(low="(select rank from d)")}),
nu as (update queue q set {_TAKEN} from n where q.id = n.id returning {_TASK}),
{_SUCCESSOR},
{_SUCCESSOR_TAKEN},
t as (select * from nu union all select * from hu where hu.token is not null),
st as ({_STARTED}),
sd as ({_STARTED_DELIVERIES})"""

#: Who got the free place, for the gate.
_SUCCESSOR_TOLD = "hu.id as successor, hu.place as successor_place, hu.moves as successor_moves"
_ENDED = f"""f.id, f.status, f.charged, f.user_id, f.period_id, f.tool_id, f.place, f.moves, {_SUCCESSOR_TOLD},
       (select count(*) from de) as told"""


def _end(which: str, take: bool) -> TextClause:
    if take:
        return text(f"""
with d as materialized ({which}), {_FACTS}, {_NEXT}
select {_ENDED}, (select count(*) from sd) as next_told, {_TASK_COLUMNS}
  from f left join hu on true left join t on true left join invocations ti on ti.id = t.id
""")
    return text(f"""
with d as materialized ({which}), {_FACTS}, {_SUCCESSOR}, {_SUCCESSOR_PLACED}
select {_ENDED} from f left join hu on true
""")


END_AND_TAKE: Final = _end(_BY_TOKEN, take=True)
END: Final = _end(_BY_TOKEN, take=False)
END_QUEUED: Final = _end(_BY_OWNER, take=False)
END_OVERDUE: Final = _end(_BY_DEADLINE, take=False)

#: Was it our end that committed, when its answer was lost? (Its place, and who got it, are lost with it.)
ENDED_BY: Final = text("""
select i.id, i.status, i.charged, i.user_id, i.period_id, i.tool_id, null::integer as place, 0 as moves,
       null::uuid as successor, 1 as told
  from attempts a join invocations i on i.id = a.invocation_id
 where a.token = :token and i.status <> 'open'
""")

# -- retrying --------------------------------------------------------------------------------------------------

_PARKED = """
w as (
  select id, place, rank, token, worker, taken_at from queue
   where id = :id and token = cast(:token as uuid) and cancel_at is null
     and now() + make_interval(secs => :delay) < expires_at for update),
d as (
  update queue q
     set token = null, worker = null, taken_at = null, give_up_at = null, sent_at = null, place = null, rank = null,
         due_at = now() + make_interval(secs => :delay), last_error = cast(:last_error as jsonb),
         losses = q.losses + :loss, moves = q.moves + 1
    from w where q.id = w.id
  returning q.id, q.user_id, q.period_id, q.attempts, q.moves, w.place, w.rank, w.token, w.worker, w.taken_at),
a as (
  insert into attempts (invocation_id, n, token, worker, started_at, ended_at, outcome, http_status, detail,
                        operator_detail)
  select d.id, d.attempts, d.token, d.worker, d.taken_at, greatest(now(), d.taken_at), cast(:outcome as text),
         cast(:http_status as smallint), cast(:error_detail as text), cast(:operator_detail as text) from d)"""
_RETRIED = f"d.id, d.user_id, d.period_id, d.moves, {_SUCCESSOR_TOLD}"

RETRY_AND_TAKE: Final = text(f"""
with {_PARKED}, {_NEXT}
select {_RETRIED}, (select count(*) from sd) as next_told, {_TASK_COLUMNS}
  from d left join hu on true left join t on true left join invocations ti on ti.id = t.id
""")
RETRY: Final = text(f"with {_PARKED}, {_SUCCESSOR}, {_SUCCESSOR_PLACED} select {_RETRIED} from d left join hu on true")
RETRIED_BY: Final = text("""
select q.id, q.user_id, q.period_id, q.moves, null::uuid as successor
  from attempts a join queue q on q.id = a.invocation_id where a.token = :token
""")

# -- canceling -------------------------------------------------------------------------------------------------

REQUEST_CANCEL: Final = text("""
update queue set cancel_at = coalesce(cancel_at, now())
 where id = :id and user_id = :user_id and token is not null returning cancel_at
""")
#: What a worker process has in its hands, as the books see it. (`give_up_at is not null`: the index of running rows.)
IN_HAND: Final = text("""
select q.token, q.cancel_at from queue q where q.worker = :worker and q.give_up_at is not null
""")

# -- reading -----------------------------------------------------------------------------------------------------

#: How large input and output are together, without reading them but where nobody has noted it.
PAYLOAD_BYTES: Final = """coalesce(i.input_bytes, octet_length(i.input::text), 0)
         + coalesce(i.output_bytes, octet_length(i.output::text), 0)"""


def view(payloads: str) -> str:
    """Invocations as they are shown; input and output are read where the condition `payloads` holds."""
    return f"""
select i.id, i.user_id, i.status as stored, q.token is not null as running, i.tool_id, tl.slug, tl.name, tv.version,
       case when {payloads} then coalesce(i.input_as_sent, cast(i.input as json)) end as input,
       case when {payloads} then coalesce(i.output_as_sent, cast(i.output as json)) end as output,
       {payloads} as payloads, {PAYLOAD_BYTES} as payload_bytes, i.error_code, i.error_detail,
       coalesce(i.metadata_as_sent, cast(i.metadata as json)) as metadata,
       coalesce(q.attempts, i.attempts) as attempts, i.held, i.charged, i.request_id, i.created_at,
       coalesce(q.started_at, i.started_at) as started_at, i.finished_at, i.expires_at,
       coalesce(q.cancel_at, i.cancel_requested_at) as cancel_requested_at
  from invocations i
  join tools tl on tl.id = i.tool_id join tool_versions tv on tv.id = i.tool_version_id
  left join queue q on q.id = i.id
"""


_ONE = " where i.id = :id and (cast(:user_id as uuid) is null or i.user_id = :user_id)"
GET: Final = text(view("true") + _ONE)
#: For those who wait for the end: until then they need no more than to see that it has not come.
GET_ENDED: Final = text(view("i.status <> 'open'") + _ONE)
GET_WITHIN: Final = text(view(f"{PAYLOAD_BYTES} <= cast(:most as bigint)") + _ONE)
GET_MANY: Final = text(view("cast(:payloads as boolean)") + " where i.id = any(cast(:ids as uuid[]))")
#: What has changed since? Of many, for those who wait.
STATES: Final = text("""
select i.id, i.status as stored, q.token is not null as running, coalesce(q.attempts, i.attempts) as attempts
  from invocations i left join queue q on q.id = i.id where i.id = any(cast(:ids as uuid[]))
""")
TRACEPARENT: Final = text("select traceparent from invocations where id = :id")
#: What the last attempt of each was told that its owner was not.
OPERATOR_DETAILS: Final = text("""
select distinct on (invocation_id) invocation_id, operator_detail
  from attempts where invocation_id = any(cast(:ids as uuid[])) order by invocation_id, n desc
""")
# -- sweeping ----------------------------------------------------------------------------------------------------

OVERDUE: Final = text("""
select id, started_at is not null as started, last_error from queue
 where token is null and expires_at <= now() order by expires_at limit :limit
""")
_LEASED = "q.id, q.token, q.tool_version_id, q.attempts, q.losses, q.sent_at is not null as sent, q.cancel_at"
#: Rows whose worker is known dead, or that are past their last moment, are taken over: under a token of their own, so
#: that what is read here (was the call sent?) stays true until it is acted upon, whoever wakes up in between.
#: (`taken_at < now()`: who takes a row that was lost meanwhile may be a process that this snapshot does not know.)
TAKE_OVER_LOST: Final = text(f"""
with lost as materialized (
  select q.id from queue q
   where q.give_up_at is not null and q.taken_at < now()
     and (q.give_up_at <= now() or not exists (select 1 from processes p where p.id = q.worker))
   order by q.give_up_at limit :limit for update of q skip locked)
update queue q set token = uuid7() from lost where q.id = lost.id
returning {_LEASED}
""")
#: The same for rows that a process has, by the books, and works on in no thread.
TAKE_OVER_OWN: Final = text(f"""
update queue q set token = uuid7()
 where q.worker = :worker and q.token = any(cast(:tokens as uuid[])) and q.give_up_at is not null
returning {_LEASED}
""")
_DUE = """
     where q.place is null and q.period_id = {period} and q.due_at <= now() - make_interval(secs => :behind)
       and q.expires_at > now() and not q.tool_id = any(cast(:paused as uuid[]))
     order by q.due_at"""
#: Accounts with parked rows that are due, and the oldest row of each. Account by account (a loose scan of the index
#: on period and due time), so that one account's backlog does not hide the others.
WAITING: Final = text(f"""
with recursive account as (
  (select q.period_id from queue q where q.place is null and q.period_id > :after order by q.period_id limit 1)
  union all
  select (select q.period_id from queue q where q.place is null and q.period_id > a.period_id
           order by q.period_id limit 1)
    from account a where a.period_id is not null),
few as (select period_id from account where period_id is not null limit :limit)
select a.period_id, p.user_id, pl.max_concurrency, pl.rate_limit_per_minute, q.id, q.moves
  from few a join periods p on p.id = a.period_id join plans pl on pl.id = p.plan_id
  left join lateral (select q.id, q.moves from queue q {_DUE.format(period="a.period_id")} limit 1) q on true
 order by a.period_id
""")
WAITING_OF: Final = text(f"select q.id, q.moves from queue q {_DUE.format(period=':period_id')} limit :limit")
#: For the row as it was when the gate was asked (`moves`): one that has had a place since gave back what was counted.
PLACE: Final = text(f"""
with p as materialized (
  select id from periods where id = :period_id and epoch = :epoch and {SERVER} = :server for share)
update queue q set place = :place, rank = (select last_value from vt) + :place, moves = q.moves + 1
  from p where q.id = :id and q.moves = :moves and q.place is null and q.token is null
returning q.moves
""")
PARK_PAUSED: Final = text("""
with n as (
  select id from queue where token is null and place is not null and tool_id = any(cast(:paused as uuid[]))
   order by rank limit :limit for update skip locked)
update queue q set place = null, rank = null, due_at = now() + interval '1 second', moves = q.moves + 1
  from n where q.id = n.id
returning q.id, q.user_id, q.period_id, q.moves
""")
LIFT: Final = text(f"""
with n as (
  select id from queue where token is null and place is not null and rank < (select last_value from vt) - {SLACK}
   order by rank limit :limit for update skip locked)
update queue q set rank = (select last_value from vt) + 1 from n where q.id = n.id
""")
READY: Final = text("""
select count(*) from (select 1 from queue where token is null and place is not null limit :limit) x
""")
#: Work that could begin now, while no process has heard a bell or ended a call for so long.
UNHEARD: Final = text("""
select exists (select 1 from queue where token is null and place is not null and expires_at > now())
       and not exists (select 1 from processes where 'invocations' = any(string_to_array(split_part(name, '@', 1), ','))
                          and progress_at > now() - make_interval(secs => :seconds)) as unheard
""")
DEPTH: Final = text("""
select count(*) as depth, count(*) filter (where token is not null) as running,
       coalesce(extract(epoch from now() - min(due_at) filter (where token is null and due_at <= now())), 0) as oldest
  from queue
""")
THRESHOLD: Final = text("select 1 from budget_thresholds where period_id = :period_id and percent = :percent")
FORGET_KEYS: Final = text("""
with old as (select user_id, key from idempotency_keys where created_at <= now() - interval '25 hours' limit :limit)
delete from idempotency_keys k using old where k.user_id = old.user_id and k.key = old.key
""")

HEARTBEAT: Final = text("""
insert into processes (id, kind, name, stopping) values (:id, :kind, :name, :stopping)
on conflict (id) do update set pulse_at = now(), suspect_at = null, stopping = excluded.stopping,
   progress_at = case when :progress then now() else processes.progress_at end
""")
SUSPECT: Final = text("""
update processes set suspect_at = now() where suspect_at is null and pulse_at <= now() - make_interval(secs => :after)
""")
REAP: Final = text("""
delete from processes where suspect_at <= now() - make_interval(secs => :after) returning id, name
""")
LEAVE: Final = text("delete from processes where id = :id")

LATELY: Final = text("""
select 1 from sweep_runs where name = :name and ran_at > now() - make_interval(secs => :seconds)
""")
SWEPT: Final = text("""
insert into sweep_runs as s (name, milliseconds, failures) values (:name, :milliseconds, :failed)
on conflict (name) do update set ran_at = now(), milliseconds = excluded.milliseconds,
   runs = s.runs + 1, failures = s.failures + excluded.failures
""")
