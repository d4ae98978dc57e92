"""The versions of a tool, and what each changed: for users as they are concerned with it, for admins all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from uuid import UUID

from common import errors, tools
from common.kit.paging import Page, Window
from common.tools import ListedVersion
from web.console import differences, lists
from web.console.blueprint import Context, blp, page
from web.console.rendering import url
from web.http import auth
from web.http.pagination import ListArguments, ListQuery

#: Reads versions, newest first.
Read = Callable[[Window], Page[ListedVersion]]


@dataclass(frozen=True, slots=True)
class View:
    """How versions are shown: read with `read`, compared by `fields`; `path` leads to one of them."""

    read: Read
    fields: Sequence[str]
    path: Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Row:
    """A version in the list. `changed`: the fields that differ from the one before; None: it is not at hand."""

    listed: ListedVersion
    path: str
    changed: Sequence[str] | None


def listed(view: View) -> Context:
    """The page of all versions, each compared with the one before."""
    query: ListArguments = lists.query(ListQuery)
    window = query["window"]
    read = view.read(Window(window.limit + 1, window.after))
    shown, more = read.items[: window.limit], read.has_more or len(read.items) > window.limit
    found = Page.of(shown, window, lambda one: (one.version.version,), more=more)
    rows = [_row(view, one, before) for one, before in zip_longest(shown, read.items[1 : window.limit + 1])]
    return {"rows": rows, "pages": lists.pages(found)}


def _row(view: View, one: ListedVersion, before: ListedVersion | None) -> Row:
    first: Sequence[str] | None = [] if one.version.version == 1 else None
    changed = first if before is None else differences.names(before.version, one.version, view.fields)
    return Row(one, view.path(one.version.version), changed)


def compared(view: View, number: int) -> Context:
    """The page of one version, compared with the one before. Raises `NotFound`."""
    found = view.read(Window(2, (number + 1,))).items
    if not found or found[0].version.version != number:
        raise errors.NotFound("The tool has no such version.")
    before = found[1].version if len(found) > 1 else None
    changes = [] if before is None else differences.between(before, found[0].version, view.fields)
    return {"one": found[0], "before": before, "changes": changes}


def of_users(tool: str) -> View:
    """The versions that an account may name."""
    read = partial(tools.versions, auth.caller().user_id, tool)
    return View(read, differences.PUBLIC, lambda number: url("tool_version", tool=tool, number=number))


def of_admins(tool_id: UUID) -> View:
    """The versions of any tool."""
    read = partial(tools.history, tool_id)
    return View(read, differences.ALL, lambda number: url("admin_tool_version", tool_id=tool_id, number=number))


@blp.get("/tools/<tool>/versions")
@auth.needs("tools:read")
@page("tool_versions.html")
def tool_versions(tool: str) -> Context:
    """The versions of a tool, newest first."""
    return {**listed(of_users(tool)), "back": url("tool", tool=tool), "for_admins": False}


@blp.get("/tools/<tool>/versions/<int:number>")
@auth.needs("tools:read")
@page("tool_version.html")
def tool_version(tool: str, number: int) -> Context:
    """What a version changed."""
    return {**compared(of_users(tool), number), "back": url("tool_versions", tool=tool)}


@blp.get("/admin/tools/<uuid:tool_id>/versions")
@auth.admin
@page("tool_versions.html")
def admin_tool_versions(tool_id: UUID) -> Context:
    """The versions of a tool and how each is called, newest first."""
    return {**listed(of_admins(tool_id)), "back": url("admin_tool", tool_id=tool_id), "for_admins": True}


@blp.get("/admin/tools/<uuid:tool_id>/versions/<int:number>")
@auth.admin
@page("tool_version.html")
def admin_tool_version(tool_id: UUID, number: int) -> Context:
    """What a version changed, also of how it is called."""
    return {**compared(of_admins(tool_id), number), "back": url("admin_tool_versions", tool_id=tool_id)}
