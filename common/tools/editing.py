"""Changing the catalogue: every change of how a tool is called is a new version, every change is in the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from common.errors import Conflict, FieldError, Invalid, NotFound, SlugTaken
from common.identity import audit
from common.identity.audit import Actor
from common.kit import crypto, db, jsonb
from common.kit.clock import uuid7
from common.kit.outbound import Refused, check_headers
from common.models.tools import ADAPTERS, METHODS, Tool, ToolVersion
from common.tools import breakers, exposed
from common.tools.catalogue import Listed, listed
from common.tools.schemas import check_schema

#: What a tool is without saying so.
DEFAULTS: Mapping[str, Any] = {
    "description": None,
    "category": None,
    "adapter": "http_json",
    "method": "POST",
    "headers": {},
    "auth": {"type": "none"},
    "timeout_seconds": 30,
    "max_attempts": 3,
    "idempotent": False,
    "result_pointer": None,
    "output_schema": None,
    "example_input": None,
    "is_active": True,
}
REQUIRED = ("slug", "name", "endpoint_url", "input_schema", "price")
#: What a draft and a stored version call alike.
SAME = (
    "endpoint_url",
    "adapter",
    "method",
    "headers",
    "auth",
    "input_schema",
    "output_schema",
    "example_input",
    "result_pointer",
    "timeout_seconds",
    "max_attempts",
    "idempotent",
)
#: JSON of their own making.
DOCUMENTS = ("input_schema", "output_schema", "example_input")
#: The fields of `auth` that may be shown, by its type; the secret beside them is encrypted.
SHOWN = {"none": (), "bearer": (), "header": ("header_name",), "basic": ("username",)}
MAX_SCHEMA_CHARS = 200_000


@dataclass(frozen=True, slots=True)
class Draft:
    """A tool as an admin writes it (`POST /admin/tools`); the shape of each field is the contract's."""

    slug: str
    name: str
    description: str | None
    category: str | None
    endpoint_url: str
    adapter: str
    method: str
    headers: Mapping[str, str]
    auth: Mapping[str, Any]
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None
    example_input: Any
    result_pointer: str | None
    price: Mapping[str, Any]
    timeout_seconds: int
    max_attempts: int
    idempotent: bool
    is_active: bool

    @classmethod
    def of(cls, entry: Mapping[str, Any], *, secret_kept: bool = False, before: Draft | None = None) -> Draft:
        """Fill in the defaults. Raises `Invalid` for what is missing, unknown or cannot work.

        `secret_kept`: `auth` needs no secret, because the stored one goes on. `before`: what it is a change of, whose
        schemas may stay as they are.
        """
        names = {field.name for field in fields(cls)}
        faults = [FieldError(f"/{name}", "Missing.") for name in REQUIRED if name not in entry]
        faults += [FieldError(f"/{name}", "Unknown field.") for name in entry if name not in names]
        if faults:
            raise Invalid(errors=faults)
        draft = cls(**{**DEFAULTS, **entry})
        if faults := [
            *draft._faults(before),
            *draft._auth_faults(secret_kept),
            *draft._header_faults(),
            *draft._exposed(before),
        ]:
            raise Invalid(errors=faults)
        return draft

    def _faults(self, before: Draft | None) -> Iterable[FieldError]:
        if self.adapter not in ADAPTERS:
            yield FieldError("/adapter", f"Must be one of {', '.join(ADAPTERS)}.")
        if self.method not in METHODS:
            yield FieldError("/method", f"Must be one of {', '.join(METHODS)}.")
        if self.price.get("base_tokens", 0) > self.price.get("max_tokens", 0):
            yield FieldError("/price/max_tokens", "Must not be below base_tokens.")
        if self.price.get("per_unit") is not None and self.price.get("base_tokens", 0) < 1:
            yield FieldError("/price/base_tokens", "Must be at least 1 where units are counted.")
        for name in ("input_schema", "output_schema"):
            schema = getattr(self, name)
            kept = before is not None and schema == getattr(before, name)
            if not kept and (fault := _schema_fault(schema, self.example_input)) is not None:
                yield FieldError(f"/{name}", fault)

    def _auth_faults(self, secret_kept: bool) -> Iterable[FieldError]:
        kind = self.auth.get("type")
        if kind not in SHOWN:
            yield FieldError("/auth/type", f"Must be one of {', '.join(SHOWN)}.")
            return
        known = () if kind == "none" else (*SHOWN[kind], "secret")
        for name in known:
            if not self.auth.get(name) and not (name == "secret" and secret_kept):
                yield FieldError(f"/auth/{name}", "Missing.")
        for name in self.auth.keys() - {"type", *known}:
            yield FieldError(f"/auth/{name}", f"Does not belong to the type {kind}.")
        if ":" in self.auth.get("username", ""):
            yield FieldError("/auth/username", "Must not contain a colon (RFC 7617).")

    def _header_faults(self) -> Iterable[FieldError]:
        """Nothing may be stored that the outbound client would refuse to send."""
        for name, value in self.headers.items():
            at = f"/headers/{name.replace('~', '~0').replace('/', '~1')}"
            if fault := _header_fault(name, value):
                yield FieldError(at, fault)
        if fault := _header_fault(self.auth.get("header_name") or "x", "x"):
            yield FieldError("/auth/header_name", fault)
        if _header_fault("x", self.auth.get("secret") or "x"):
            yield FieldError("/auth/secret", "Has characters that a header cannot carry.")

    def _exposed(self, before: Draft | None) -> Iterable[FieldError]:
        """What was stored in clear before may stay until it is changed."""
        if before is None or self.headers != before.headers:
            yield from exposed.in_headers(self.headers)
        if before is None or self.endpoint_url != before.endpoint_url:
            yield from exposed.in_url(self.endpoint_url)

    def version_fields(self) -> dict[str, Any]:
        """What a version stores, without the secret."""
        return {
            "endpoint_url": self.endpoint_url,
            "adapter": self.adapter,
            "method": self.method,
            "headers": dict(self.headers),
            "auth": {"type": self.auth["type"], **{name: self.auth[name] for name in SHOWN[self.auth["type"]]}},
            "input_schema": dict(self.input_schema),
            "output_schema": None if self.output_schema is None else dict(self.output_schema),
            "example_input": self.example_input,
            "result_pointer": self.result_pointer,
            "base_tokens": self.price["base_tokens"],
            "per_unit": self.price.get("per_unit"),
            "max_tokens": self.price["max_tokens"],
            "timeout_seconds": self.timeout_seconds,
            "max_attempts": self.max_attempts,
            "idempotent": self.idempotent,
        }


def _schema_fault(schema: Mapping[str, Any] | None, example: Any) -> str | None:
    if schema is None:
        return None
    if len(json.dumps(schema)) > MAX_SCHEMA_CHARS:
        return f"Must not be longer than {MAX_SCHEMA_CHARS:,} characters."
    try:
        check_schema(schema, example)
    except ValueError as error:
        return str(error)[:300]
    return None


def _header_fault(name: str, value: str) -> str | None:
    try:
        check_headers({name: value})
    except Refused as error:
        return error.message
    return None


def create(actor: Actor, draft: Draft) -> Listed:
    """Add a tool. Raises `SlugTaken`."""
    tool_id = uuid7()
    with _slug_free(), db.transaction() as session:
        tool = Tool(id=tool_id, version=1, **_name(draft))
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


def change(actor: Actor, tool_id: UUID, changes: Mapping[str, Any]) -> Listed:
    """Change a tool: a new version from now on; what was accepted before runs on its own.

    What changes nothing makes no version. `auth` without a secret keeps the stored one, if the type stays.
    Raises `NotFound`, `Conflict` (archived), `Invalid`, `SlugTaken`.
    """
    with _slug_free(), db.transaction() as session:
        tool, current = _locked(session, tool_id)
        if tool.archived_at is not None:
            raise Conflict("The tool is archived.")
        before, kept = draft_of(tool, current), _keeps_secret(current, changes)
        draft = Draft.of(
            {**{f.name: getattr(before, f.name) for f in fields(Draft)}, **changes}, secret_kept=kept, before=before
        )
        was, is_now = _difference(before, draft)
        if not is_now and (kept or "secret" not in draft.auth):
            return listed(tool, current)
        for name, value in _name(draft).items():
            setattr(tool, name, value)
        tool.version += 1
        made = _version(session, tool, draft, current.auth_secret if kept else _encrypted(tool_id, draft))
        was, is_now = {**was, "version": current.version}, {**is_now, "version": made.version}
        if not kept and draft.auth.get("secret"):
            is_now["secret_replaced"] = True
        audit.record(session, actor, "tool.change", "tool", tool_id, before=was, after=is_now)
    return listed(tool, made)


def _keeps_secret(current: ToolVersion, changes: Mapping[str, Any]) -> bool:
    auth = changes.get("auth", current.auth)
    return current.auth_secret is not None and "secret" not in auth and auth.get("type") == current.auth["type"]


def _difference(before: Draft, after: Draft) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the audit log tells of a change."""
    was, is_now = shown(before), shown(after)
    changed = [name for name in is_now if not _alike(name, was, is_now)]
    return {name: was[name] for name in changed}, {name: is_now[name] for name in changed}


def _alike(name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a field says the same; in documents the order of keys and the kind of numbers say something too."""
    if name in DOCUMENTS:
        return jsonb.dumps(one[name]) == jsonb.dumps(other[name])
    return bool(one[name] == other[name])


def archive(actor: Actor, tool_id: UUID) -> None:
    """Take a tool out of the catalogue for good; its history stays, accepted calls finish. Raises `NotFound`."""
    with db.transaction() as session:
        tool, _ = _locked(session, tool_id)
        if tool.archived_at is None:
            before = {"is_active": tool.is_active}
            tool.is_active, tool.archived_at = False, session.execute(select(func.now())).scalar_one()
            audit.record(session, actor, "tool.archive", "tool", tool_id, before=before, after={"is_active": False})


def reset_breaker(actor: Actor, tool_id: UUID) -> breakers.State:
    """Let calls through again, whatever happened before. Raises `NotFound`."""
    with db.transaction() as session:
        _locked(session, tool_id)
        before = {"state": breakers.state(tool_id).state}
        audit.record(session, actor, "tool.breaker_reset", "tool", tool_id, before=before, after={"state": "closed"})
    breakers.close(tool_id)
    return breakers.state(tool_id)


def load(actor: Actor, entries: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """Bring the catalogue up to a list of entries, by slug; what is as it should be, or archived, is left alone.

    Returns how many were created and how many changed.
    """
    created = changed = 0
    for entry in entries:
        draft = Draft.of(entry)
        found = _by_slug(draft.slug)
        if found is None:
            create(actor, draft)
            created += 1
        elif found[0].archived_at is None and _difference(draft_of(*found), draft)[1]:
            change(actor, found[0].id, dict(entry))
            changed += 1
    return created, changed


def shown(draft: Draft) -> dict[str, Any]:
    """A draft as the audit log may keep it: no secret."""
    return {**_name(draft), **draft.version_fields()}


def draft_of(tool: Tool, row: ToolVersion) -> Draft:
    """A stored version as an admin would write it (without the secret)."""
    price = {"base_tokens": row.base_tokens, "per_unit": row.per_unit, "max_tokens": row.max_tokens}
    return Draft(
        slug=tool.slug,
        name=tool.name,
        description=tool.description,
        category=tool.category,
        is_active=tool.is_active,
        price=price,
        **{name: row.sent(name) for name in SAME},
    )


def _name(draft: Draft) -> dict[str, Any]:
    names = {name: getattr(draft, name) for name in ("slug", "name", "category", "is_active")}
    return {**names, "description": draft.description or ""}


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
        raise NotFound("There is no such tool.")
    where = (ToolVersion.tool_id == tool_id, ToolVersion.version == tool.version)
    return tool, session.execute(select(ToolVersion).where(*where)).scalar_one()


def _by_slug(slug: str) -> tuple[Tool, ToolVersion] | None:
    with db.snapshot() as session:
        query = select(Tool, ToolVersion).join(ToolVersion, ToolVersion.tool_id == Tool.id)
        row = session.execute(query.where(Tool.slug == slug, ToolVersion.version == Tool.version)).one_or_none()
    return None if row is None else (row[0], row[1])
