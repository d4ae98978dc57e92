"""What invocations are found by beside account, tool and time: docs/decisions/finding-invocations.md."""

from __future__ import annotations

from sqlalchemy import Index, text

#: What `failure` says.
FAILURE = """
failure is not distinct from case when status in ('failed', 'canceled', 'expired') then status end
  and (failure is null) = (is_failure is null)
"""
#: What lists look for beside account, tool and time. Each index covers the rows alone that have what it is about, and
#: none of its columns changes at the end of an invocation that succeeds.
FOUND_BY = (
    Index(
        "ix_invocations_user_id_failure_id", "user_id", "failure", "id", postgresql_where=text("failure is not null")
    ),
    Index("ix_invocations_failure_id", "failure", "id", postgresql_where=text("failure is not null")),
    Index("ix_invocations_api_key_id_id", "api_key_id", "id", postgresql_where=text("api_key_id is not null")),
    Index(
        "ix_invocations_user_id_end_user_id", "user_id", "end_user", "id", postgresql_where=text("end_user is not null")
    ),
    Index("ix_invocations_rerun_of_id", "rerun_of", "id", postgresql_where=text("rerun_of is not null")),
    Index(
        "ix_invocations_user_id_error_code_id",
        "user_id",
        "error_code",
        "id",
        postgresql_where=text("error_code is not null"),
        postgresql_include=["tool_id", "created_at"],
    ),
    Index(
        "ix_invocations_fallback_error_code_id",
        "user_id",
        "error_code",
        "id",
        postgresql_where=text("error_code is not null and requested_tool_id is not null"),
        postgresql_include=["tool_id", "requested_tool_id", "created_at"],
    ),
    # A request id that we made has the time of the request in it, and so does the invocation's id.
    Index(
        "ix_invocations_request_id_id",
        "request_id",
        "id",
        postgresql_where=text("left(request_id, 8) <> left(id::text, 8)"),
    ),
    Index(
        "ix_invocations_terms",
        text("invocation_terms(user_id, metadata)"),
        postgresql_using="gin",
        postgresql_where=text("metadata <> '{}'"),
    ),
)

#: What an account's pairs of metadata are found by. (As in its migration: an index is made of it.)
TERMS_UP = """
create function invocation_terms(account uuid, metadata jsonb) returns bigint[] language sql immutable parallel safe
  cost 1000 as $$
  select array(select hashtextextended(account::text || e.key || chr(31) || e.value, 0)
                 from jsonb_each_text(metadata) e)
$$
"""
TERMS_DOWN = "drop function invocation_terms(uuid, jsonb)"
