"""What a statement that disables endpoints says of it, to their owner."""

from __future__ import annotations

from typing import Final

#: Reads `w`, the endpoints of a statement: those with a `disabled_reason` have just been disabled. A mail, and an event
#: for the other endpoints.
DISABLED: Final = """
ev as (
  insert into events (id, user_id, type, data)
  select uuid7(), w.user_id, 'webhook.disabled',
         jsonb_build_object('endpoint_id', w.id, 'url', w.url, 'disabled_reason', w.disabled_reason)
    from w where w.disabled_reason is not null
  returning id, user_id, type),
ed as (
  insert into deliveries (id, event_id, user_id, endpoint_id)
  select uuid7(), ev.id, ev.user_id, o.id
    from ev join webhook_endpoints o on o.user_id = ev.user_id and o.status = 'enabled' and o.events && array[ev.type]
   where o.id <> all(select w.id from w)),
m as (
  insert into mails (id, template, recipient, data)
  select uuid7(), 'endpoint_disabled', u.email,
         jsonb_build_object('url', w.url, 'reason', case w.disabled_reason
           when 'gone' then 'it answered 410 Gone' else 'it took nothing for five days' end)
    from w join users u on u.id = w.user_id where w.disabled_reason is not null)
"""
