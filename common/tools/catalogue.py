"""Look up tools and versions. Versions are immutable, so each process caches them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from common.errors import FieldError, Invalid, NotFound
from common.kit import aliases, db, memory
from common.kit.cache import Cache
from common.kit.paging import Page, Window
from common.kit.query import Query
from common.models.tools import Tool, ToolLatency, ToolVersion
from common.tools.model import ListedTool, Version, frozen, listed

REMEMBERED = 2_000
#: Of a list without pages.
LISTED_MOST = 1_000


_Fallback = aliases.shared(Tool, "fallback")
_LIVE = and_(Tool.is_active, Tool.archived_at.is_(None))


def find(ref: str) -> ListedTool:
    """An active tool by id or slug. Raises `NotFound`."""
    with db.read_only() as session:
        row = session.execute(_with_version().where(_LIVE, named(ref))).one_or_none()
    if row is None:
        raise NotFound("Tool not found.")
    return listed(*row)


def remembered(ref: str) -> ListedTool:
    """As `find`, but from this process's cache if possible. May be stale: check `is_current` afterwards.

    Raises `NotFound`.
    """
    known = _known().get(ref)
    if known is None:
        known = find(ref)
        _known().put(ref, known)
    return known


def is_current(tool: ListedTool) -> bool:
    """Whether the tool is active and has no newer version. Otherwise, drops it from the cache."""
    current = bool(db.execute(_IS_CURRENT, {"id": tool.id, "version": tool.current.version}))
    if not current:
        _known().drop_if(lambda known: known.id == tool.id)
    return current


def is_live(tool_id: UUID) -> bool:
    """Whether the tool can be called, in whatever version."""
    return bool(db.execute(_IS_LIVE, {"id": tool_id}))


_known = memory.Part(lambda: Cache[str, ListedTool](REMEMBERED))


class CurrentTool(NamedTuple):
    """A tool that is as it was seen."""

    id: UUID


_IS_CURRENT = Query(
    "select id from tools where id = :id and version = :version and is_active and archived_at is null", CurrentTool
)
_IS_LIVE = Query("select id from tools where id = :id and is_active and archived_at is null", CurrentTool)


def get(tool_id: UUID) -> ListedTool:
    """A tool by id, including inactive and archived ones. Raises `NotFound`."""
    with db.read_only() as session:
        row = session.execute(_with_version().where(Tool.id == tool_id)).one_or_none()
    if row is None:
        raise NotFound("Tool not found.")
    return listed(*row)


def named(ref: str) -> ColumnElement[bool]:
    """Whether a tool has this id or slug."""
    try:
        return Tool.id == UUID(ref) if len(ref) == 36 else Tool.slug == ref
    except ValueError:
        return Tool.slug == ref


def catalogue(
    window: Window, *, q: str | None = None, category: str | None = None, only: Collection[str] | None = None
) -> Page[ListedTool]:
    """Active tools, newest first. `q` is a case-insensitive substring of slug, name or description.

    `only`: none but those with these slugs.
    """
    query = _with_version().where(_LIVE)
    return _page(query if only is None else query.where(Tool.slug.in_(only)), window, q, category)


def with_adapter(adapters: Collection[str], *, only: Collection[str] | None = None) -> list[ListedTool]:
    """Active tools that are called by one of these adapters, newest first, at most `LISTED_MOST`."""
    query = _with_version().where(_LIVE, ToolVersion.adapter.in_(adapters))
    query = query if only is None else query.where(Tool.slug.in_(only))
    with db.read_only() as session:
        return [listed(*row) for row in session.execute(query.order_by(Tool.id.desc()).limit(LISTED_MOST))]


def require_known(slugs: Sequence[str]) -> None:
    """Raise `Invalid`, with an error for each item of `tools` that is not the slug of an active tool."""
    with db.read_only() as session:
        known = set(session.scalars(select(Tool.slug).where(_LIVE, Tool.slug.in_(slugs)))) if slugs else set()
    unknown = [FieldError(f"/tools/{n}", "There is no such tool.") for n, slug in enumerate(slugs) if slug not in known]
    if unknown:
        raise Invalid(errors=unknown)


def everything(
    window: Window,
    *,
    q: str | None = None,
    category: str | None = None,
    is_active: bool | None = None,
    is_archived: bool | None = None,
) -> Page[ListedTool]:
    """All tools, for admins, newest first."""
    query = _with_version()
    if is_active is not None:
        query = query.where(Tool.is_active == is_active)
    if is_archived is not None:
        query = query.where(Tool.archived_at.is_not(None) == is_archived)
    return _page(query, window, q, category)


def _page(
    query: Select[Tool, ToolVersion, ToolLatency | None, Tool | None],
    window: Window,
    q: str | None,
    category: str | None,
) -> Page[ListedTool]:
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


def _with_version() -> Select[Tool, ToolVersion, ToolLatency | None, Tool | None]:
    current = and_(ToolVersion.tool_id == Tool.id, ToolVersion.version == Tool.version)
    query = select(Tool, ToolVersion, ToolLatency, _Fallback).join(ToolVersion, current)
    query = query.outerjoin(ToolLatency, ToolLatency.tool_id == Tool.id)
    return query.outerjoin(_Fallback, _Fallback.id == Tool.fallback_id)


@lru_cache(maxsize=REMEMBERED)
def version(version_id: UUID) -> Version:
    """A version by id, also of an archived tool. Cached for the life of the process."""
    with db.read_only() as session:
        query = select(Tool.slug, ToolVersion).join(Tool, Tool.id == ToolVersion.tool_id)
        slug, row = session.execute(query.where(ToolVersion.id == version_id)).one()
    return frozen(slug, row)


@lru_cache(maxsize=REMEMBERED)
def numbered(tool_id: UUID, number: int) -> Version:
    """A version of a tool by its number. Cached for the life of the process."""
    with db.read_only() as session:
        query = select(Tool.slug, ToolVersion).join(Tool, Tool.id == ToolVersion.tool_id)
        slug, row = session.execute(query.where(Tool.id == tool_id, ToolVersion.version == number)).one()
    return frozen(slug, row)
