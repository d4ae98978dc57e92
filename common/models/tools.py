"""The catalogue: a tool is a name with a history; a version is what is really called, and never changes."""

from __future__ import annotations

from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from common.models.base import MAX_TOKENS, Base, Created, Id, Instant, Json, Tokens, Word, one_of

ADAPTERS = ("http_json", "chat_completion", "embeddings")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
AUTH_TYPES = ("none", "bearer", "header", "basic")


class PerUnit(TypedDict):
    """A price per unit: what a unit is called and costs, and where in the response their number is (RFC 6901)."""

    unit: str
    tokens: float
    pointer: str


class Metered(TypedDict):
    """How units are counted where the tool reports none: one for each `chars_per_unit` characters of the answer.

    `input`: those of the messages in the input count as well.
    """

    chars_per_unit: int
    input: bool


class Tool(Base):
    """What people find in the catalogue. `version` is the current one; archived tools keep their history."""

    __tablename__ = "tools"

    id: Mapped[Id]
    slug: Mapped[Word] = mapped_column(unique=True)
    name: Mapped[Word]
    description: Mapped[Word] = mapped_column(server_default="")
    category: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    version: Mapped[int]
    archived_at: Mapped[Instant | None]
    created_at: Mapped[Created]
    #: Takes over at submit while this tool's circuit breaker is open.
    fallback_id: Mapped[UUID | None] = mapped_column(ForeignKey("tools.id"))

    __table_args__ = (
        CheckConstraint("slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'", name="slug"),
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("fallback_id <> id", name="fallback"),
        Index("ix_tools_live", "id", postgresql_where=text("is_active and archived_at is null")),
    )


class ToolVersion(Base):
    """One immutable way to call a tool. `auth` holds what may be shown; the secret is encrypted beside it."""

    __tablename__ = "tool_versions"

    id: Mapped[Id]
    tool_id: Mapped[UUID] = mapped_column(ForeignKey("tools.id"))
    version: Mapped[int]
    adapter: Mapped[Word]
    method: Mapped[Word]
    endpoint_url: Mapped[Word]
    headers: Mapped[dict[str, str]] = mapped_column(JSONB)
    auth: Mapped[dict[str, str]] = mapped_column(JSONB)
    auth_secret: Mapped[str | None]
    input_schema: Mapped[Json]
    output_schema: Mapped[dict[str, object] | None] = mapped_column(JSONB(none_as_null=True))
    example_input: Mapped[object | None] = mapped_column(JSONB(none_as_null=True))
    result_pointer: Mapped[str | None]
    base_tokens: Mapped[Tokens]
    per_unit: Mapped[PerUnit | None] = mapped_column(JSONB(none_as_null=True))
    max_tokens: Mapped[Tokens]
    timeout_seconds: Mapped[int] = mapped_column(SmallInteger)
    max_attempts: Mapped[int] = mapped_column(SmallInteger)
    idempotent: Mapped[bool]
    created_at: Mapped[Created]
    #: Whether it can be asked for a streamed answer, and how long that may be silent.
    streaming: Mapped[bool] = mapped_column(server_default=text("false"))
    idle_seconds: Mapped[int] = mapped_column(SmallInteger, server_default=text("30"))
    metered: Mapped[Metered | None] = mapped_column(JSONB(none_as_null=True))
    #: Of schemas and example, those that `jsonb` would reorder or respell, by their names.
    as_sent: Mapped[dict[str, object] | None] = mapped_column(JSON(none_as_null=True))

    __table_args__ = (
        UniqueConstraint("tool_id", "version"),
        CheckConstraint(one_of("adapter", ADAPTERS), name="adapter"),
        CheckConstraint(one_of("method", METHODS), name="method"),
        CheckConstraint(one_of("auth ->> 'type'", AUTH_TYPES), name="auth"),
        CheckConstraint(f"base_tokens between 0 and {MAX_TOKENS}", name="base_tokens"),
        CheckConstraint(f"max_tokens between base_tokens and {MAX_TOKENS}", name="max_tokens"),
        CheckConstraint("timeout_seconds between 1 and 600", name="timeout"),
        CheckConstraint("max_attempts between 1 and 10", name="max_attempts"),
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("adapter = 'chat_completion' or not streaming", name="streaming"),
        CheckConstraint("idle_seconds between 1 and 600", name="idle_seconds"),
    )

    def sent(self, name: str) -> Any:  # Any: each column has a type of its own
        """A column as it was sent."""
        return (self.as_sent or {}).get(name, getattr(self, name))


class ToolLatency(Base):
    """How long calls of a tool took in the last days: the latency buckets of two percentiles (`usage_rollups`)."""

    __tablename__ = "tool_latencies"

    tool_id: Mapped[UUID] = mapped_column(ForeignKey("tools.id"), primary_key=True)
    p50: Mapped[int] = mapped_column(SmallInteger)
    p95: Mapped[int] = mapped_column(SmallInteger)
    at: Mapped[Created]


#: A version that was accepted with may be running now: it is never rewritten. (Its secret may be re-encrypted.)
VERSION_IS_IMMUTABLE_UP = """
create function tool_versions_immutable() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' or to_jsonb(new) - 'auth_secret' <> to_jsonb(old) - 'auth_secret' then
    raise exception 'tool versions never change' using errcode = 'integrity_constraint_violation',
      constraint = 'tool_versions_immutable';
  end if;
  return new;
end $$;
create trigger tool_versions_immutable before update or delete on tool_versions
  for each row execute function tool_versions_immutable();
"""
VERSION_IS_IMMUTABLE_DOWN = "drop function tool_versions_immutable() cascade"

DDL_UP = (VERSION_IS_IMMUTABLE_UP,)
DDL_DOWN = (VERSION_IS_IMMUTABLE_DOWN,)
