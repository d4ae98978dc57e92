# ruff: noqa: S608  (the statements are put together from constants)
"""SQL of what a completion writes, of one invocation or of several: its final state, the attempt, the usage entry, the
event, and the deliveries of the event.

It is about the rows that `d` has taken out of the queue, and about what `c` says of each.
"""

from __future__ import annotations

from typing import Final

from common.invocations.fragments import DELIVERIES

DELETED = """id, user_id, period_id, tool_id, tool_version_id, held, slot, start_tag, moves, attempts, token, worker,
            claimed_at, started_at, cancel_at, last_error, api_keys, capped_key"""

#: What is to be written about a completion, by column of `c`.
GIVEN: Final = {
    "id": "uuid",
    "event_id": "uuid",
    "status": "text",
    "output": "text",
    "output_as_sent": "text",
    "error_code": "text",
    "error_detail": "text",
    "operator_detail": "text",
    "cost": "bigint",
    "units": "numeric",
    "basis": "text",
    "shown_cost": "bigint",
    "shown_units": "numeric",
    "shown_basis": "text",
    "outcome": "text",
    "usage_status": "text",
    "http_status": "smallint",
    "latency_ms": "integer",
    "width": "integer",
}
GIVEN_ONE: Final = ", ".join(f"cast(:{name} as {type_}) as {name}" for name, type_ in GIVEN.items())

COMPLETION = """
s as (
  select d.*, case when d.cancel_at is not null and c.status <> 'succeeded' and c.cost = 0 then 'canceled'
                   else c.status end as status from d join c on c.id = d.id),
o as (
  select s.*, s.status in ('succeeded', 'canceled') as has_output,
         case when s.status = 'canceled' then c.shown_cost else c.cost end as cost,
         case when s.status = 'canceled' then c.shown_units else c.units end as units,
         case when s.status = 'canceled' then c.shown_basis else c.basis end as basis
    from s join c on c.id = s.id),
f as (
  update invocations i
     set status = o.status,
         output = case when o.has_output then cast(c.output as jsonb) end,
         output_bytes = case when o.has_output then octet_length(c.output) end,
         output_as_sent = case when o.has_output then cast(c.output_as_sent as json) end,
         error_code = case when o.status = 'failed' then c.error_code end,
         error_detail = case when o.status = 'failed' then c.error_detail end,
         charged = least(o.cost, o.held), units = o.units, basis = o.basis,
         attempts = o.attempts, cancel_requested_at = o.cancel_at,
         is_failure = case when o.status <> 'succeeded' then true end,
         started_at = greatest(o.started_at, case when o.started_at is not null then i.created_at end),
         finished_at = greatest(now(), o.started_at, i.created_at)
    from o join c on c.id = o.id where i.id = o.id
  returning i.id, i.user_id, i.api_key_id, i.api_key_root_id, i.end_user, o.api_keys, i.webhook_url, i.webhook_events,
            i.status, i.charged, i.units, o.held, o.cost, c.event_id,
            o.period_id, o.tool_id, o.tool_version_id, o.token, o.worker, o.attempts as n, o.claimed_at, o.slot,
            o.moves, array['invocation.' || i.status, 'completed'] as filters),
a as (
  insert into attempts (invocation_id, n, token, worker, started_at, ended_at, outcome, http_status, detail,
                        operator_detail)
  select f.id, f.n, f.token, f.worker, f.claimed_at, greatest(now(), f.claimed_at),
         case when f.status = 'canceled' then 'canceled' else c.outcome end,
         c.http_status, c.error_detail, c.operator_detail
    from f join c on c.id = f.id where f.token is not null),
u as (
  insert into usage_logs (invocation_id, id, user_id, period_id, tool_id, tool_version_id, api_key_id,
                          api_key_root_id, end_user, status,
                          tokens_used, units, held, overrun, latency_ms, http_status)
  select f.id, f.event_id, f.user_id, f.period_id, f.tool_id, f.tool_version_id, f.api_key_id,
         f.api_key_root_id, f.end_user,
         case when f.status = 'canceled' then 'canceled' else c.usage_status end, f.charged, f.units,
         f.held, greatest(0, f.cost - f.held), c.latency_ms, c.http_status
    from f join c on c.id = f.id),
ev as (
  insert into events (id, user_id, type, invocation_id, attempts)
  select f.event_id, f.user_id, 'invocation.' || f.status, f.id, f.n from f),
de as (""" + DELIVERIES + ")"  # fmt: skip
