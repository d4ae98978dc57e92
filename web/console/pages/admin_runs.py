"""Runs of all accounts, for admins: listed, and each as its owner sees it, with what only operators are told."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from common import invocations
from common.identity import accounts
from common.kit.paging import Page
from common.models.invocations import STATUSES
from web.console import downloads, lists, run_details
from web.console.blueprint import Context, blp, page
from web.console.rendering import url
from web.http import auth, large_reads
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
    return {**_beside(found), "page": found, "pages": lists.pages(found), "asked": query, "statuses": STATUSES}


def _beside(found: Page[invocations.Invocation]) -> Context:
    details = invocations.operator_details([run.id for run in found.items])
    return {"details": details, "addresses": accounts.addresses({run.user_id for run in found.items})}


def stored(invocation_id: UUID) -> invocations.Invocation:
    """A run with its input and output, however large."""
    large_reads.begin()
    return invocations.get(invocation_id, None)


@blp.get("/admin/runs/<uuid:invocation_id>")
@auth.admin
@page("admin_run.html", parts=("run_now",))
def admin_run(invocation_id: UUID) -> Context:
    """One run of any account."""
    story = invocations.story(None, invocation_id, most_bytes=run_details.SHOWN_BYTES, window=run_details.WINDOW)
    detail = invocations.operator_details([invocation_id]).get(invocation_id)
    files = {name: url(f"admin_run_{name}", invocation_id=invocation_id) for name in ("input", "output")}
    return {**run_details.details(story, files, is_own=False), "detail": detail}


@blp.get("/admin/runs/<uuid:invocation_id>/input.json")
@auth.admin
@page("admin_run.html")
def admin_run_input(invocation_id: UUID) -> Response:
    """Its input as a file."""
    return downloads.json_file(f"{invocation_id}-input.json", stored(invocation_id).input)


@blp.get("/admin/runs/<uuid:invocation_id>/output.json")
@auth.admin
@page("admin_run.html")
def admin_run_output(invocation_id: UUID) -> Response:
    """Its output as a file."""
    return downloads.json_file(f"{invocation_id}-output.json", stored(invocation_id).output)


for file in (admin_run_input, admin_run_output):
    file.produces = ["application/json"]  # type: ignore[attr-defined]
