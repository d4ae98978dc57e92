"""Finding tools, and the version that is called. A version never changes, so each process keeps those it has met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, text

from common.errors import NotFound
from common.kit import crypto, db
from common.kit.paging import Page, Window
from common.models.base import MAX_TOKENS
from common.models.tools import Tool, ToolVersion

REMEMBERED = 2_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a call costs, in tokens: `base` plus `tokens` for each unit that the answer reports at `pointer`."""

    base_tokens: int
    per_unit: Mapping[str, Any] | None
    max_tokens: int

    def hold(self, max_tokens: int | None) -> int:
        """What is held at submit: the smaller of the price's and the caller's `max_tokens`."""
        return self.max_tokens if max_tokens is None else min(self.max_tokens, max_tokens)

    @property
    def least(self) -> int:
        """The least that a caller's `max_tokens` must allow: no call of a tool that counts units is free."""
        return self.base_tokens if self.per_unit is None else max(self.base_tokens, min(1, self.max_tokens))

    def exceeds(self, cost: int, held: int) -> bool:
        """Whether a call cost more than the caller allowed. Beyond the price's own limit it costs nobody anything."""
        return min(cost, self.max_tokens) > held

    def units_within(self, tokens: int) -> int | None:
        """How many whole units so many tokens pay for; None when units cost nothing."""
        if self.per_unit is None or not self.per_unit["tokens"]:
            return None
        paid = Decimal(tokens - self.base_tokens) / Decimal(str(self.per_unit["tokens"]))
        return int(min(max(paid, Decimal(0)), Decimal(MAX_TOKENS)))

    def cap(self, held: int) -> int | None:
        """The units that a call has to keep to; None when its caller allowed all that it can cost."""
        return None if held >= self.max_tokens else self.units_within(held)

    def cost(self, units: float | Decimal | None) -> int:
        """The whole price for so many units, rounded up; no more than an amount of tokens can be, whatever a tool says.

        Above the hold, it says by how much the price was exceeded; what is charged is `charge`.
        """
        if self.per_unit is None or units is None:
            return self.base_tokens
        extra = min(Decimal(str(self.per_unit["tokens"])) * Decimal(str(units)), Decimal(MAX_TOKENS))
        return min(self.base_tokens + int(extra.to_integral_value(ROUND_CEILING)), MAX_TOKENS)

    def charge(self, units: float | Decimal | None, held: int) -> int:
        """What a call of so many units is charged: the whole price, at most what is held for it."""
        return min(self.cost(units), held)


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable way to call a tool, as workers and submits use it. The secret stays encrypted."""

    id: UUID
    tool_id: UUID
    slug: str
    version: int
    adapter: str
    method: str
    endpoint_url: str
    headers: Mapping[str, str]
    auth: Mapping[str, Any]
    encrypted_secret: str | None
    timeout_seconds: int
    max_attempts: int
    idempotent: bool
    result_pointer: str | None
    price: Price
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None
    example_input: Any

    def secret(self) -> str | None:
        """The credential in clear, at the moment of the call only. Raises `crypto.Undecryptable`."""
        return (
            None if self.encrypted_secret is None else crypto.decrypt("tool", str(self.tool_id), self.encrypted_secret)
        )


@dataclass(frozen=True, slots=True)
class Listed:
    """A tool as the catalogue shows it; the last three are for admins."""

    id: UUID
    slug: str
    name: str
    description: str | None
    category: str | None
    current: Version
    is_active: bool
    archived_at: datetime | None
    created_at: datetime


_LIVE = and_(Tool.is_active, Tool.archived_at.is_(None))


def find(ref: str) -> Listed:
    """An active tool by id or slug. Raises `NotFound`."""
    with db.read_only() as session:
        row = session.execute(_with_version().where(_LIVE, _named(ref))).one_or_none()
    if row is None:
        raise NotFound("There is no such tool.")
    return listed(*row)


def remembered(ref: str) -> Listed:
    """As `find`, from this process's memory if it has met the tool: perhaps as it was, so ask `is_current` afterwards.

    Raises `NotFound`.
    """
    known = _known.get(ref)
    if known is None:
        known = find(ref)
        if len(_known) >= REMEMBERED:
            _known.clear()
        _known[ref] = known
    return known


def is_current(tool: Listed) -> bool:
    """Whether this is how the active tool still is: every change makes a new version. If not, it is forgotten."""
    current = bool(db.execute(_IS_CURRENT, {"id": tool.id, "version": tool.current.version}))
    if not current:
        for ref in [ref for ref, known in list(_known.items()) if known.id == tool.id]:
            _known.pop(ref, None)
    return current


_known: dict[str, Listed] = {}
_IS_CURRENT = text("select 1 from tools where id = :id and version = :version and is_active and archived_at is null")


def get(tool_id: UUID) -> Listed:
    """Any tool, inactive and archived ones too. Raises `NotFound`."""
    with db.read_only() as session:
        row = session.execute(_with_version().where(Tool.id == tool_id)).one_or_none()
    if row is None:
        raise NotFound("There is no such tool.")
    return listed(*row)


def _named(ref: str) -> ColumnElement[bool]:
    try:
        return Tool.id == UUID(ref) if len(ref) == 36 else Tool.slug == ref
    except ValueError:
        return Tool.slug == ref


def catalogue(window: Window, *, q: str | None = None, category: str | None = None) -> Page[Listed]:
    """Active tools, newest first; `q` is matched literally in slug, name, description."""
    return _page(_with_version().where(_LIVE), window, q, category)


def everything(
    window: Window,
    *,
    q: str | None = None,
    category: str | None = None,
    is_active: bool | None = None,
    is_archived: bool | None = None,
) -> Page[Listed]:
    """All tools for admins, newest first."""
    query = _with_version()
    if is_active is not None:
        query = query.where(Tool.is_active == is_active)
    if is_archived is not None:
        query = query.where(Tool.archived_at.is_not(None) == is_archived)
    return _page(query, window, q, category)


def _page(query: Select[Tool, ToolVersion], window: Window, q: str | None, category: str | None) -> Page[Listed]:
    if q:
        wanted = func.lower(q)
        query = query.where(
            or_(*(func.strpos(func.lower(c), wanted) > 0 for c in (Tool.slug, Tool.name, Tool.description)))
        )
    if category is not None:
        query = query.where(Tool.category == category)
    if window.after is not None:
        query = query.where(Tool.id < window.after[0])
    with db.read_only() as session:
        rows = [listed(*row) for row in session.execute(query.order_by(Tool.id.desc()).limit(window.limit + 1))]
    return Page.cut(rows, window, lambda tool: (tool.id,))


def _with_version() -> Select[Tool, ToolVersion]:
    current = and_(ToolVersion.tool_id == Tool.id, ToolVersion.version == Tool.version)
    return select(Tool, ToolVersion).join(ToolVersion, current)


def listed(tool: Tool, version: ToolVersion) -> Listed:
    return Listed(
        id=tool.id,
        slug=tool.slug,
        name=tool.name,
        description=tool.description or None,
        category=tool.category,
        current=_frozen(tool.slug, version),
        is_active=tool.is_active,
        archived_at=tool.archived_at,
        created_at=tool.created_at,
    )


def _frozen(slug: str, row: ToolVersion) -> Version:
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
        price=Price(row.base_tokens, row.per_unit, row.max_tokens),
        input_schema=row.sent("input_schema"),
        output_schema=row.sent("output_schema"),
        example_input=row.sent("example_input"),
    )


@lru_cache(maxsize=REMEMBERED)
def version(version_id: UUID) -> Version:
    """The version an invocation was accepted with, archived or not. Versions never change: cached for good."""
    with db.read_only() as session:
        query = select(Tool.slug, ToolVersion).join(Tool, Tool.id == ToolVersion.tool_id)
        slug, row = session.execute(query.where(ToolVersion.id == version_id)).one()
    return _frozen(slug, row)
