"""Editing the catalogue: a change to how a tool is called makes a new version; every change is audited."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from common import webhooks
from common.errors import Conflict, NotFound, SlugTaken
from common.identity import audit, idempotency
from common.identity.audit import Actor
from common.identity.idempotency import Once
from common.kit import crypto, db, failpoints, jsonb
from common.kit.clock import uuid7
from common.kit.expecting import Expect, anything
from common.kit.outbound import OutboundClient
from common.models.tools import Tool, ToolVersion
from common.tools import breakers, fallbacks
from common.tools.drafts import DOCUMENTS, Draft, difference, draft_of, shown, tool_fields
from common.tools.model import ListedTool, listed

__all__ = [
    "Draft",
    "archive",
    "change",
    "check_url",
    "create",
    "create_all",
    "draft_of",
    "load",
    "reset_breaker",
    "shown",
]


def check_url(outbound: OutboundClient, changes: Mapping[str, object]) -> None:
    """Refuse an `endpoint_url` that this platform does not call. Raises `UrlRefused`."""
    if "endpoint_url" in changes:
        webhooks.check_url(outbound, str(changes["endpoint_url"]), "/endpoint_url", operator=True)


def create(actor: Actor, draft: Draft, *, once: Once = None) -> ListedTool:
    """Add a tool. Raises `SlugTaken`, `IdempotencyKeyReused`, and `Invalid` for a fallback that cannot be one."""
    tool_id = uuid7()
    with _slug_free(), db.transaction() as session:
        if earlier := idempotency.claim(session, once, tool_id):
            return listed(*_locked(session, earlier.id))
        if draft.fallback is not None:
            fallbacks.lock(session)
        return _add(session, actor, tool_id, draft)


def create_all(actor: Actor, drafts: Sequence[Draft], *, once: Once = None) -> list[ListedTool]:
    """Add several tools without fallbacks, or none of them. Raises `SlugTaken`, `IdempotencyKeyReused`."""
    first = uuid7()
    with _slug_free(), db.transaction() as session:
        if earlier := idempotency.claim(session, once, first):
            made_then = earlier.facts.get("tools")
            return [listed(*_locked(session, UUID(made))) for made in made_then] if isinstance(made_then, list) else []
        made = [_add(session, actor, uuid7() if number else first, draft) for number, draft in enumerate(drafts)]
        idempotency.remember(session, once, tools=[str(tool.id) for tool in made])
        return made


def _add(session: Session, actor: Actor, tool_id: UUID, draft: Draft) -> ListedTool:
    tool = Tool(id=tool_id, version=1, fallback_id=fallbacks.resolve(session, tool_id, draft), **tool_fields(draft))
    session.add(tool)
    session.flush()
    made = _version(session, tool, draft, _encrypted(tool_id, draft))
    audit.record(session, actor, "tool.create", "tool", tool_id, after=shown(draft))
    return listed(tool, made)


@contextmanager
def _slug_free() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        if db.violated(error) == "uq_tools_slug":
            raise SlugTaken from None
        raise


def change(
    actor: Actor, tool_id: UUID, changes: Mapping[str, object], *, expect: Expect[ListedTool] = anything
) -> ListedTool:
    """Change a tool. New invocations use the new version; accepted ones keep the version they were accepted with.

    A change that alters nothing makes no version. `auth` without a secret keeps the stored one if the type is the same.
    Raises `NotFound`, `Conflict` (archived), `Invalid`, `SlugTaken`, and what `expect` does.
    """
    with _slug_free(), db.transaction() as session:
        if changes.get("fallback") is not None:
            fallbacks.lock(session)
        tool, current = _locked(session, tool_id)
        expect(listed(tool, current))
        failpoints.at("change.checked")
        if tool.archived_at is not None:
            raise Conflict("The tool is archived.")
        before, kept = draft_of(tool, current, fallbacks.slug(session, tool)), _keeps_secret(current, changes)
        draft = Draft.of(
            {**{f.name: getattr(before, f.name) for f in fields(Draft)}, **changes}, secret_kept=kept, before=before
        )
        was, is_now = difference(before, draft)
        if not is_now and (kept or "secret" not in draft.auth):
            return listed(tool, current)
        for name, value in tool_fields(draft).items():
            setattr(tool, name, value)
        if not is_now.keys().isdisjoint(("fallback", "input_schema")):
            tool.fallback_id = fallbacks.resolve(session, tool_id, draft)
        tool.version += 1
        made = _version(session, tool, draft, current.auth_secret if kept else _encrypted(tool_id, draft))
        was, is_now = {**was, "version": current.version}, {**is_now, "version": made.version}
        if not kept and draft.auth.get("secret"):
            is_now["secret_replaced"] = True
        audit.record(session, actor, "tool.change", "tool", tool_id, before=was, after=is_now)
    return listed(tool, made)


def _keeps_secret(current: ToolVersion, changes: Mapping[str, object]) -> bool:
    auth = changes.get("auth", current.auth)
    kept = isinstance(auth, Mapping) and "secret" not in auth and auth.get("type") == current.auth["type"]
    return kept and current.auth_secret is not None


def archive(actor: Actor, tool_id: UUID, *, expect: Expect[ListedTool] = anything) -> None:
    """Archive a tool permanently. Its history stays; accepted invocations finish.

    Raises `NotFound`, and what `expect` does.
    """
    with db.transaction() as session:
        tool, current = _locked(session, tool_id)
        expect(listed(tool, current))
        failpoints.at("change.checked")
        if tool.archived_at is None:
            before = {"is_active": tool.is_active}
            tool.is_active, tool.archived_at = False, session.execute(select(func.now())).scalar_one()
            audit.record(session, actor, "tool.archive", "tool", tool_id, before=before, after={"is_active": False})


def reset_breaker(actor: Actor, tool_id: UUID) -> breakers.BreakerState:
    """Close the tool's circuit breaker. Raises `NotFound`."""
    with db.transaction() as session:
        _locked(session, tool_id)
        before = {"state": breakers.state(tool_id).state}
        audit.record(session, actor, "tool.breaker_reset", "tool", tool_id, before=before, after={"state": "closed"})
    breakers.close(tool_id)
    return breakers.state(tool_id)


def load(actor: Actor, entries: Iterable[Mapping[str, object]]) -> tuple[int, int]:
    """Create or change tools so that they match `entries`, by slug; archived tools are skipped.

    Returns the number of tools created and changed.
    """
    created = changed = 0
    for entry in entries:
        draft = Draft.of(entry)
        found = _by_slug(draft.slug)
        if found is None:
            create(actor, draft)
            created += 1
        elif found[0].archived_at is None and difference(found[1], draft)[1]:
            change(actor, found[0].id, dict(entry))
            changed += 1
    return created, changed


def _encrypted(tool_id: UUID, draft: Draft) -> str | None:
    secret = draft.auth.get("secret")
    return None if secret is None else crypto.encrypt("tool", str(tool_id), secret)


def _version(session: Session, tool: Tool, draft: Draft, encrypted: str | None) -> ToolVersion:
    columns = draft.version_fields()
    as_sent = {name: columns[name] for name in DOCUMENTS if jsonb.as_sent(columns[name]) is not None}
    made = ToolVersion(tool_id=tool.id, version=tool.version, auth_secret=encrypted, as_sent=as_sent or None, **columns)
    session.add(made)
    session.flush()
    return made


def _locked(session: Session, tool_id: UUID) -> tuple[Tool, ToolVersion]:
    tool = session.execute(select(Tool).where(Tool.id == tool_id).with_for_update()).scalar_one_or_none()
    if tool is None:
        raise NotFound("Tool not found.")
    where = (ToolVersion.tool_id == tool_id, ToolVersion.version == tool.version)
    return tool, session.execute(select(ToolVersion).where(*where)).scalar_one()


def _by_slug(slug: str) -> tuple[Tool, Draft] | None:
    with db.snapshot() as session:
        query = select(Tool, ToolVersion).join(ToolVersion, ToolVersion.tool_id == Tool.id)
        row = session.execute(query.where(Tool.slug == slug, ToolVersion.version == Tool.version)).one_or_none()
        return None if row is None else (row[0], draft_of(row[0], row[1], fallbacks.slug(session, row[0])))
