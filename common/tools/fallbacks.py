"""Fallbacks: the tool that takes over at submit while the circuit breaker of another is open.

One step only: a fallback has none of its own. An admin's change is checked under a lock; afterwards either tool may be
changed or archived alone, so that `stand_in` looks again.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import exists, select, text
from sqlalchemy.orm import Session

from common.errors import FieldError, Invalid, NotFound
from common.models.tools import Tool, ToolVersion
from common.tools import breakers, schema_compatibility
from common.tools.catalogue import remembered
from common.tools.drafts import Draft
from common.tools.model import ListedTool

_LOCK: Final = text("select pg_advisory_xact_lock(hashtext('tool_fallbacks'))")


def stand_in(tool: ListedTool) -> ListedTool | None:
    """The tool that takes calls of this one now; None: this one does, or there is none that can."""
    other = tool.fallback_tool
    if other is None or not breakers.retry_after(tool.id) or breakers.retry_after(other.id):
        return None
    try:
        return remembered(str(other.id))
    except NotFound:  # archived, or not active
        return None


def lock(session: Session) -> None:
    """Of several changes of fallbacks, one is made after the other. Before any tool is locked."""
    session.execute(_LOCK)


def slug(session: Session, tool: Tool) -> str | None:
    """The slug of a tool's fallback."""
    return None if tool.fallback_id is None else session.scalar(select(Tool.slug).where(Tool.id == tool.fallback_id))


def resolve(session: Session, tool_id: UUID, draft: Draft) -> UUID | None:
    """The id of the draft's fallback. Raises `Invalid` if it cannot be one."""
    if draft.fallback is None:
        return None
    query = select(Tool, ToolVersion.input_schema).join(ToolVersion, ToolVersion.tool_id == Tool.id)
    found = session.execute(query.where(Tool.slug == draft.fallback, ToolVersion.version == Tool.version)).one_or_none()
    if found is None or found[0].archived_at is not None:
        raise _refused("There is no such tool, or it is archived.")
    other, schema = found
    if other.id == tool_id:
        raise _refused("A tool cannot be its own fallback.")
    if other.fallback_id is not None:
        raise _refused("It has a fallback itself: one follows another in one step only.")
    if session.scalar(select(exists().where(Tool.fallback_id == tool_id, Tool.archived_at.is_(None)))):
        raise _refused("This tool is the fallback of another: one follows another in one step only.")
    if fault := schema_compatibility.fault(draft.input_schema, schema):
        raise _refused(f"It does not take every input of this tool. {fault}")
    return UUID(str(other.id))


def _refused(why: str) -> Invalid:
    return Invalid(errors=[FieldError("/fallback", why)])
