"""What must hold after every run, by SQL and HGETALL of its own: nothing here calls the product's own checks."""

from __future__ import annotations

from typing import Any

from tests.explorer import quotes, streams
from tests.explorer.world import COST, StateStore, World

_BOOKS = """
select p.id::text, p.user_id::text, p.epoch, pl.max_concurrency,
       (select coalesce(sum(tokens), 0) from grants g where g.period_id = p.id)::bigint,
       (select coalesce(sum(tokens_used), 0) from usage_logs u where u.period_id = p.id)::bigint,
       (select coalesce(sum(held), 0) from queue q where q.period_id = p.id)::bigint,
       (select count(*) from queue q where q.period_id = p.id and q.slot is not null),
       (select count(*) from queue q where q.period_id = p.id and q.token is not null),
       (select count(*) from queue q where q.period_id = p.id)
  from periods p join plans pl on pl.id = p.plan_id
"""
_KEYS = """
select k.id::text, k.user_id::text, k.allowance_tokens,
       (select coalesce(sum(tokens_used), 0) from usage_logs u
         where u.api_key_id = k.id or u.api_key_root_id = k.id)::bigint,
       (select coalesce(sum(q.held), 0) from queue q join invocations i on i.id = q.id
         where i.api_key_id = k.id or i.api_key_root_id = k.id)::bigint,
       case when k.revoked_at is null then
         (select id || ':' || epoch from periods p where p.user_id = k.user_id and p.closed_at is null) end
  from api_keys k where k.allowance_tokens is not null
"""
#: What a key has at once in a period: rows that do not wait for it, and those at work; and what it may have.
_AT_ONCE = """
select k.id::text, p.user_id::text, p.id::text, k.max_concurrency,
       count(q.id) filter (where q.key_due_at is null), count(q.token)
  from api_keys k join periods p on p.user_id = k.user_id
  left join queue q on q.capped_key = k.id and q.period_id = p.id
 where k.max_concurrency is not null group by k.id, p.id
"""
_ROWS = """
select i.id, case when i.request_id like 'schedule-%' then i.request_id else i.metadata->>'request' end, i.status,
       i.charged, q.id is not null, v.idempotent, i.stream, i.output, v.base_tokens,
       (select count(*) from usage_logs u where u.invocation_id = i.id),
       (select coalesce(sum(u.tokens_used), 0) from usage_logs u where u.invocation_id = i.id)::bigint,
       (select count(*) from events e where e.invocation_id = i.id
         and e.type not in ('invocation.queued', 'invocation.running'))
  from invocations i join tool_versions v on v.id = i.tool_version_id left join queue q on q.id = i.id
"""


def broken(world: World, store: StateStore, *, settled: bool) -> list[str]:
    """What does not hold; `settled`: nothing is under way any more, and everything has been repaired."""
    found = list(world.seen.problems)
    found += _budgets(store, settled=settled) + _allowances(store, settled=settled)
    found += _at_once(store, settled=settled) + _invocations(world, store, settled=settled)
    return found


def _budgets(store: StateStore, *, settled: bool) -> list[str]:
    found, known = [], set()
    for period, user, epoch, most, granted, charged, held, placed, running, opened in store.connection.execute(_BOOKS):
        known.add(f"budget:{{{user}}}:{period}")
        if granted < charged + held:
            found.append(f"overspent: granted {granted}, charged {charged}, held {held}")
        if most is not None and running > most:
            found.append(f"{running} at work, {most} allowed")
        if settled and opened:
            found.append(f"{opened} left open")
        if settled:
            found += _gate(_fields(store, period, user), epoch, [granted, charged, held, placed])
    if settled:
        found += [f"unknown gate {key!r}" for key in map(_text, store.redis.keys("budget:*")) if key not in known]
    return found


def _allowances(store: StateStore, *, settled: bool) -> list[str]:
    found = []
    for key, user, tokens, charged, held, made in store.connection.execute(_KEYS):
        if charged + held > tokens:
            found.append(f"more than an allowance: {tokens}, charged {charged}, held {held}")
        fields = {_text(name): _text(value) for name, value in store.redis.hgetall(f"allowances:{{{user}}}").items()}
        if settled and made and fields.get("made", "").startswith(f"{made}:"):
            says = fields.get(f"k:{key}", "total,0,0,0")
            if says != f"total,0,{charged},{held}":
                found.append(f"a key {says}, rows {charged} {held}")
            found += [f"left over: {name}" for name in fields if name.startswith("h:") and not held]
    return found


def _at_once(store: StateStore, *, settled: bool) -> list[str]:
    found = []
    for key, user, period, most, admitted, running in store.connection.execute(_AT_ONCE):
        if admitted > most:
            found.append(f"a key has {admitted} at once ({running} at work), {most} allowed")
        fields = _fields(store, period, user)
        if settled and "epoch" in fields and int(fields.get(f"a:{key}", 0)) != admitted:
            found.append(f"a key has {fields[f'a:{key}']} at once by the gate, {admitted} by the rows")
    return found


def _fields(store: StateStore, period: str, user: str) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in store.redis.hgetall(f"budget:{{{user}}}:{period}").items()}


def _gate(fields: dict[str, str], epoch: int, rows: list[int]) -> list[str]:
    if "epoch" not in fields:
        return []  # unknown: the next submit rebuilds it
    if int(fields["epoch"]) != epoch:
        return [f"the gate has epoch {fields['epoch']}, the rows {epoch}"]
    says = [int(fields[name]) for name in ("granted", "charged", "held", "active")]
    holds = sum(int(value.split(",")[0]) for name, value in fields.items() if name.startswith("h:"))
    return [f"gate {says}, holds {holds}, rows {rows}"] if says != rows or holds != rows[2] else []


def _invocations(world: World, store: StateStore, *, settled: bool) -> list[str]:
    found: list[str] = []
    rows = store.connection.execute(_ROWS).fetchall()
    by_request: dict[str, list[Any]] = {}
    for row in rows:
        by_request.setdefault(row[1], []).append(row)
        found += _one(row, world.seen.calls[row[0]], settled=settled)
    ids = {row[0]: row for row in rows}
    found += [f"{name}: {len(of)} invocations of one request" for name, of in by_request.items() if len(of) > 1]
    accepted = {told.request for told in world.seen.told if told.answer == "id"}
    for told in world.seen.told:
        if told.answer == "id" and told.id not in ids:
            found.append(f"{told.request}: told an id that does not exist")
        if told.answer == "no" and told.request not in accepted and told.request in by_request:
            found.append(f"{told.request}: told no ({told.why}), but there is a row")
    for id_ in world.seen.canceled:
        if ids[id_][2] != "canceled":
            found.append(f"told canceled, but it is {ids[id_][2]}")
    return found


def _one(row: Any, calls: int, *, settled: bool) -> list[str]:
    id_, request, status, charged, queued, idempotent, stream, output, base, usage, used, ends = row
    found = []
    if calls > 1 and not idempotent:
        found.append(f"{request}: called {calls} times")
    if (status == "open") != queued:
        found.append(f"{request}: {status}, in the queue: {queued}")
    if status != "open":
        cost = quotes.DEARER_COST if base == quotes.DEARER["base_tokens"] else COST
        due = streams.due(status, output) if stream else cost if status == "succeeded" else 0
        if (charged, used, usage, ends) != (due, due, 1, 1):
            found.append(f"{request} {status}: charged {charged} {used}, usage rows {usage}, end events {ends}")
        if status == "succeeded" and not calls:
            found.append(f"{request}: succeeded without a call")
    elif settled:
        found.append(f"{request} ({id_}) never ended")
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
