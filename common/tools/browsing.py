"""What an account is shown of the catalogue: its last use of each tool, and the versions that invocations name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import select

from common.errors import NotFound
from common.kit import db
from common.kit.paging import MAX_PAYLOAD_BYTES, Page, Window
from common.kit.query import Query
from common.models.tools import Tool, ToolVersion
from common.tools.catalogue import catalogue, find, get, named, with_adapter
from common.tools.model import ListedTool, Version, frozen

#: The adapters of tools that are models, and can be called as such by clients of the OpenAI API.
MODELS: Final = ("chat_completion", "embeddings")
#: The version before which a list begins.
_FROM_THE_NEWEST: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """A version of a tool. `is_current`: new invocations run with it."""

    version: Version
    is_current: bool
    created_at: datetime


class LastUse(NamedTuple):
    """When an account submitted to a tool last."""

    tool_id: UUID
    at: datetime


class UsedRow(NamedTuple):
    """Whether an account has an invocation of a tool."""

    used: bool


class VersionSize(NamedTuple):
    """A version, and how much there is to show of it, in bytes."""

    id: UUID
    version: int
    bytes: int


#: One descent of an index for each tool.
LAST_USED: Final = Query(
    """
select t.id as tool_id, i.created_at as at
  from unnest(cast(:tools as uuid[])) t(id)
 cross join lateral (select created_at from invocations
                      where user_id = :user_id and tool_id = t.id order by id desc limit 1) i
""",
    LastUse,
)
USED: Final = Query(
    "select exists (select 1 from invocations where user_id = :user_id and tool_id = :tool_id) as used", UsedRow
)
SIZES: Final = Query(
    """
select id, version, octet_length(cast(input_schema as text)) + coalesce(octet_length(cast(output_schema as text)), 0)
       + coalesce(octet_length(cast(example_input as text)), 0) as bytes
  from tool_versions where tool_id = :tool_id and version < :below order by version desc limit :limit
""",
    VersionSize,
)


#: The tools that a key sees, by slug; None: all.
Only = Collection[str] | None


def browse(
    user_id: UUID, window: Window, *, q: str | None = None, category: str | None = None, only: Only = None
) -> Page[ListedTool]:
    """As `catalogue`, with the account's last use of each tool."""
    page = catalogue(window, q=q, category=category, only=only)
    return replace(page, items=seen_by(user_id, page.items))


def seen_by(user_id: UUID, tools: Sequence[ListedTool]) -> list[ListedTool]:
    """The tools with the account's last use of each."""
    found = db.execute(LAST_USED, {"user_id": user_id, "tools": [tool.id for tool in tools]}) if tools else []
    last = {row.tool_id: row.at for row in found}
    return [replace(tool, last_used_at=last.get(tool.id)) for tool in tools]


def show(user_id: UUID, ref: str, number: int | None = None, *, only: Only = None) -> ListedTool:
    """A tool by id or slug, with its current version or the one of that number.

    Versions are shown of tools that can be called, and of those that the account has called.
    Raises `NotFound`, also for a tool that is not among `only`.
    """
    tool = find(ref) if number is None else _with(_nameable(user_id, ref), number)
    _require(tool, only)
    return seen_by(user_id, [tool])[0]


def models(*, only: Only = None) -> list[ListedTool]:
    """The active tools that are models, newest first."""
    return with_adapter(MODELS, only=only)


def model(ref: str, adapters: Collection[str] = MODELS, *, only: Only = None) -> ListedTool:
    """An active tool by id or slug that is called by one of these adapters. Raises `NotFound`."""
    tool = find(ref)
    _require(tool, only)
    if tool.current.adapter not in adapters:
        raise NotFound("This tool cannot be called by this operation.")
    return tool


def versions(user_id: UUID, ref: str, window: Window, *, only: Only = None) -> Page[ListedVersion]:
    """The versions of a tool, newest first, on a page of `MAX_PAYLOAD_BYTES` at most. Raises `NotFound`."""
    tool = _nameable(user_id, ref)
    _require(tool, only)
    return _versions(tool, window)


def history(tool_id: UUID, window: Window) -> Page[ListedVersion]:
    """As `versions`, of any tool, for admins. Raises `NotFound`."""
    return _versions(get(tool_id), window)


def _versions(tool: ListedTool, window: Window) -> Page[ListedVersion]:
    below = window.after[0] if window.after else _FROM_THE_NEWEST
    sizes = db.execute(SIZES, {"tool_id": tool.id, "below": below, "limit": window.limit + 1})
    sums = accumulate(row.bytes for row in sizes)
    fitting = [row.id for row, size in zip(sizes, sums, strict=True) if row is sizes[0] or size <= MAX_PAYLOAD_BYTES]
    shown = _shown(tool, fitting[: window.limit])
    return Page.of(shown, window, lambda one: (one.version.version,), more=len(sizes) > len(shown))


def _require(tool: ListedTool, only: Only) -> None:
    if only is not None and tool.slug not in only:
        raise NotFound("Tool not found.")


def _shown(tool: ListedTool, ids: Sequence[UUID]) -> list[ListedVersion]:
    query = select(ToolVersion).where(ToolVersion.id.in_(ids)).order_by(ToolVersion.version.desc())
    with db.read_only() as session:
        rows = session.scalars(query).all()
        return [
            ListedVersion(frozen(tool.slug, row), row.version == tool.current.version, row.created_at) for row in rows
        ]


def _with(tool: ListedTool, number: int) -> ListedTool:
    where = (ToolVersion.tool_id == tool.id, ToolVersion.version == number)
    with db.read_only() as session:
        row = session.scalars(select(ToolVersion).where(*where)).one_or_none()
        if row is None:
            raise NotFound("The tool has no such version.")
        return replace(tool, current=frozen(tool.slug, row))


def _nameable(user_id: UUID, ref: str) -> ListedTool:
    """A tool that the account's invocations may name: it can be called, or was called by the account."""
    with db.read_only() as session:
        tool_id = session.scalars(select(Tool.id).where(named(ref))).one_or_none()
    if tool_id is None:
        raise NotFound("Tool not found.")
    tool = get(tool_id)
    if tool.is_active or db.execute(USED, {"user_id": user_id, "tool_id": tool_id})[0].used:
        return tool
    raise NotFound("Tool not found.")
