"""What metadata cannot say of invocations: an end is final; and time-ordered ids."""

from __future__ import annotations

from common.models.finding import TERMS_DOWN, TERMS_KEPT_DOWN, TERMS_KEPT_UP, TERMS_UP

#: An end is an end: afterwards only the payloads may be dropped (retention), and nothing is ever deleted. (`failure`
#: follows from what never changes, which a check makes sure of.)
ENDED_IS_FINAL_UP = """
create function invocations_ended_is_final() returns trigger language plpgsql as $$
declare
  payloads constant text[] :=
    array['input', 'output', 'input_bytes', 'output_bytes', 'input_as_sent', 'output_as_sent', 'failure'];
begin
  if tg_op = 'UPDATE' and new.input is null then
    new.input_as_sent := null;
  end if;
  if tg_op = 'UPDATE' and new.output is null then
    new.output_as_sent := null;
  end if;
  if tg_op = 'DELETE' or new.input is not null and new.input is distinct from old.input
     or new.output is not null and new.output is distinct from old.output
     or new.input_as_sent is not null and new.input_as_sent::text is distinct from old.input_as_sent::text
     or new.output_as_sent is not null and new.output_as_sent::text is distinct from old.output_as_sent::text
     or to_jsonb(new) - payloads <> to_jsonb(old) - payloads then
    raise exception 'invocation % has ended: it never changes', old.id
      using errcode = 'integrity_constraint_violation', constraint = 'invocations_ended_is_final';
  end if;
  return new;
end $$;
create trigger invocations_ended_is_final before update or delete on invocations
  for each row when (old.status <> 'open') execute function invocations_ended_is_final();
"""
ENDED_IS_FINAL_DOWN = "drop function invocations_ended_is_final() cascade"

#: `failure` follows from `status`, whichever code ends an invocation.
FAILURE_UP = """
create function invocations_failure() returns trigger language plpgsql as $$
begin
  new.failure := new.status;
  return new;
end $$;
create trigger invocations_failure before insert or update on invocations
  for each row when (new.is_failure and new.failure is null) execute function invocations_failure();
"""
FAILURE_DOWN = "drop function invocations_failure() cascade"

#: Time-ordered ids made inside SQL (RFC 9562 §5.7); PostgreSQL has its own only since version 18.
UUID7_UP = """
create function uuid7() returns uuid language sql volatile parallel safe as $$
  select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
    from 1 for 6), 52, 1), 53, 1), 'hex')::uuid
$$
"""
UUID7_DOWN = "drop function uuid7()"

DDL_UP = (ENDED_IS_FINAL_UP, FAILURE_UP, UUID7_UP, TERMS_UP, TERMS_KEPT_UP)
DDL_DOWN = (ENDED_IS_FINAL_DOWN, FAILURE_DOWN, UUID7_DOWN, TERMS_KEPT_DOWN, TERMS_DOWN)
