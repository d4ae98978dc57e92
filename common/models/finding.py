"""What invocations are found by beside account, tool and time: docs/decisions/finding-invocations.md."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import Base, Instant, Word, one_of
from common.models.usage import GRAINS

#: What `failure` says.
FAILURE = """
failure is not distinct from case when status in ('failed', 'canceled', 'expired') then status end
  and (failure is null) = (is_failure is null)
"""
#: An id is of a web process's clock, `created_at` of the database's: where the two differ by more than ten seconds.
SKEWED = """
created_at - to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0::float8)
  not between interval '-10 seconds' and interval '10 seconds'
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
    Index("ix_invocations_skewed", "user_id", "id", postgresql_where=text(SKEWED)),
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

#: A row for each pair of a new invocation, whichever code makes it.
TERMS_KEPT_UP = """
create function invocations_terms() returns trigger language plpgsql as $$
begin
  insert into metadata_terms (term, invocation_id)
  select term, new.id from unnest(invocation_terms(new.user_id, new.metadata)) term on conflict do nothing;
  return null;
end $$;
create trigger invocations_terms after insert on invocations
  for each row when (new.metadata <> '{}') execute function invocations_terms();
"""
TERMS_KEPT_DOWN = "drop function invocations_terms() cascade"


class MetadataTerm(Base):
    """That an invocation has a pair of metadata: `invocation_terms` of the account, the name and the value.

    Newest first, one after the other, however many there are: an index of the column itself (GIN) has no order.
    """

    __tablename__ = "metadata_terms"

    term: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    invocation_id: Mapped[UUID] = mapped_column(primary_key=True)


class FailureRollup(Base):
    """How many invocations of an account failed, by hour, by day and by month of their creation, up to a watermark.

    `called_id`: the tool that was asked for; another than `tool_id` where that ran as its fallback. `first_at` and
    `last_at` are when the first and the last of them were made, `last_id` is the highest of their ids.
    """

    __tablename__ = "failure_rollups"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    grain: Mapped[Word] = mapped_column(primary_key=True)
    starts_at: Mapped[Instant] = mapped_column(primary_key=True)
    tool_id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[Word] = mapped_column(primary_key=True)
    called_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[Instant]
    last_at: Mapped[Instant]
    last_id: Mapped[UUID]

    __table_args__ = (
        CheckConstraint(one_of("grain", GRAINS), name="grain"),
        CheckConstraint("number >= 1", name="number"),
        CheckConstraint("starts_at <= first_at and first_at <= last_at", name="extent"),
        {"postgresql_with": {"fillfactor": "70"}},
    )
