"""Runs of all accounts, for admins."""

from __future__ import annotations

from uuid import UUID

from common import invocations
from common.models.invocations import STATUSES
from web.console import lists
from web.console.blueprint import Context, blp, page
from web.http import auth
from web.http.fields import Id, OneOrMore, Text, Word
from web.http.pagination import ListArguments, ListQuery


class AdminRunsFilter(ListQuery):
    status = OneOrMore(Word(*STATUSES), max=len(STATUSES))
    tool = Text(max=64)
    user = Id()


class AdminRunsAsked(ListArguments, total=False):
    """What `AdminRunsFilter` loads."""

    status: list[str]
    tool: str
    user: UUID


@blp.get("/admin/runs")
@auth.admin
@page("admin_runs.html")
def admin_runs() -> Context:
    """Runs of all accounts, newest first."""
    query: AdminRunsAsked = lists.query(AdminRunsFilter)
    statuses, tool, owner = query.get("status", []), query.get("tool"), query.get("user")
    found = invocations.listing(owner, query["window"], statuses=statuses, tool=tool, payloads=False)
    details = invocations.operator_details([run.id for run in found.items])
    return {"page": found, "pages": lists.pages(found), "details": details, "asked": query, "statuses": STATUSES}
