"""The audit log: who changed what, with before and after beside each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from common.identity import accounts, audit
from common.kit.paging import Page
from common.models.audit import AuditEntry
from web.console import lists
from web.console.blueprint import Context, blp, page
from web.console.moments import Moment
from web.http import auth
from web.http.fields import Id, Text
from web.http.pagination import ListArguments, ListQuery

#: Characters of a value that are shown.
MOST_CHARS = 160
_ABSENT = object()


class AuditFilter(ListQuery):
    actor = Id()
    action = Text(max=100)
    target_type = Text(max=100)
    target = Text(max=100)
    since = Moment(data_key="from")
    until = Moment(data_key="to")


class AuditAsked(ListArguments, total=False):
    """What `AuditFilter` loads."""

    actor: UUID
    action: str
    target_type: str
    target: str
    since: datetime
    until: datetime


class Change(NamedTuple):
    """A field that was changed, added (`before` is None) or taken away (`after` is None)."""

    name: str
    before: str | None
    after: str | None


def changes(entry: AuditEntry) -> list[Change]:
    """What differs between before and after, field by field."""
    before, after = entry.shown_before or {}, entry.shown_after or {}
    names = [*before, *(name for name in after if name not in before)]
    found = [Change(name, _written(before, name), _written(after, name)) for name in names]
    return [each for each in found if before.get(each.name, _ABSENT) != after.get(each.name, _ABSENT)]


def _written(values: Mapping[str, object], name: str) -> str | None:
    if name not in values:
        return None
    value = values[name]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]} …"


@blp.get("/admin/audit")
@auth.admin
@page("admin_audit.html")
def admin_audit() -> Context:
    """All recorded changes, newest first."""
    query: AuditAsked = lists.query(AuditFilter)
    found = audit.entries(**query)
    filters = {name: value for name, value in query.items() if name != "window"}
    return {**_rows(found), "pages": lists.pages(found), "filters": filters, "limit": query["window"].limit}


def _rows(found: Page[AuditEntry]) -> Context:
    addresses = accounts.addresses({entry.actor_id for entry in found.items if entry.actor_id})
    return {"rows": [(entry, changes(entry)) for entry in found.items], "addresses": addresses}
