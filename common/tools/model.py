"""The values of the catalogue: a tool as it is listed, and its versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from common.kit import crypto
from common.models.tools import Tool, ToolLatency, ToolVersion
from common.tools import breakers
from common.tools.prices import Price
from common.usage.histogram import milliseconds


@dataclass(frozen=True, slots=True)
class Version:
    """An immutable version of a tool: how to call it and what it costs. The secret stays encrypted."""

    id: UUID
    tool_id: UUID
    slug: str
    version: int
    adapter: str
    method: str
    endpoint_url: str
    headers: Mapping[str, str]
    auth: Mapping[str, str]
    encrypted_secret: str | None
    timeout_seconds: int
    max_attempts: int
    idempotent: bool
    result_pointer: str | None
    price: Price
    input_schema: Mapping[str, object]
    output_schema: Mapping[str, object] | None
    example_input: object
    streaming: bool = False
    idle_seconds: int = 30

    def secret(self) -> str | None:
        """Decrypt the credential; only for the call itself. Raises `crypto.Undecryptable`."""
        return (
            None if self.encrypted_secret is None else crypto.decrypt("tool", str(self.tool_id), self.encrypted_secret)
        )


@dataclass(frozen=True, slots=True)
class FallbackTool:
    """The tool that takes over for another, as far as that one knows it. `is_live`: it can be called."""

    id: UUID
    slug: str
    is_live: bool


@dataclass(frozen=True, slots=True)
class ListedTool:
    """A tool as listed in the catalogue. The three fields after `current` are for admins.

    The latencies are percentiles of the last seven days, of all accounts; None: it was not called. `last_used_at` is
    when the account that asks submitted to it last, where that was looked up (`browsing`).
    """

    id: UUID
    slug: str
    name: str
    description: str | None
    category: str | None
    current: Version
    is_active: bool
    archived_at: datetime | None
    created_at: datetime
    latency_p50_ms: int | None = None
    latency_p95_ms: int | None = None
    last_used_at: datetime | None = None
    fallback_tool: FallbackTool | None = None

    @property
    def fallback(self) -> str | None:
        """The slug of the tool that takes over while the circuit breaker is open."""
        return None if self.fallback_tool is None else self.fallback_tool.slug

    @property
    def is_available(self) -> bool:
        """Whether a submit would be let through now: it is active, and its breaker, or its fallback's, is closed."""
        if not self.is_active or not breakers.retry_after(self.id):
            return self.is_active
        return (other := self.fallback_tool) is not None and other.is_live and not breakers.retry_after(other.id)


def listed(
    tool: Tool, version: ToolVersion, latency: ToolLatency | None = None, fallback: Tool | None = None
) -> ListedTool:
    """A tool with the given version as its current one."""
    return ListedTool(
        id=tool.id,
        slug=tool.slug,
        name=tool.name,
        description=tool.description or None,
        category=tool.category,
        current=frozen(tool.slug, version),
        is_active=tool.is_active,
        archived_at=tool.archived_at,
        created_at=tool.created_at,
        latency_p50_ms=None if latency is None else milliseconds(latency.p50),
        latency_p95_ms=None if latency is None else milliseconds(latency.p95),
        fallback_tool=None if fallback is None else _fallback(fallback),
    )


def _fallback(tool: Tool) -> FallbackTool:
    return FallbackTool(tool.id, tool.slug, tool.is_active and tool.archived_at is None)


def frozen(slug: str, row: ToolVersion) -> Version:
    """A stored version, to be kept."""
    return Version(
        id=row.id,
        tool_id=row.tool_id,
        slug=slug,
        version=row.version,
        adapter=row.adapter,
        method=row.method,
        endpoint_url=row.endpoint_url,
        headers=row.headers,
        auth=row.auth,
        encrypted_secret=row.auth_secret,
        timeout_seconds=row.timeout_seconds,
        max_attempts=row.max_attempts,
        idempotent=row.idempotent,
        result_pointer=row.result_pointer,
        price=Price(row.base_tokens, row.per_unit, row.max_tokens, row.metered),
        input_schema=row.sent("input_schema"),
        output_schema=row.sent("output_schema"),
        example_input=row.sent("example_input"),
        streaming=row.streaming,
        idle_seconds=row.idle_seconds,
    )
