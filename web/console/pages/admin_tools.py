"""Tools, for admins: found, looked at, tested, archived; their circuit breakers."""

from __future__ import annotations

from typing import Final, NotRequired, TypedDict
from uuid import UUID

from flask import Response, g

from common import boot, errors, tools
from common.tools import ListedTool, adapters, breakers, editing
from web.console import forms, input_views, inputs, lists, trees
from web.console.blueprint import Context, action, blp, go, page
from web.console.forms import Form
from web.console.input_views import InputView
from web.console.rendering import url
from web.http import auth
from web.http.fields import Text, Word
from web.http.pagination import ListArguments, ListQuery

#: What can be asked for, and what that is of `tools.everything`.
STATES: Final[dict[str, dict[str, bool]]] = {
    "": {"is_archived": False},
    "active": {"is_active": True, "is_archived": False},
    "inactive": {"is_active": False, "is_archived": False},
    "archived": {"is_archived": True},
}


class AdminToolsFilter(ListQuery):
    q = Text(max=200)
    category = Text(max=100)
    state = Word(*STATES)


class AdminToolsAsked(ListArguments, total=False):
    """What `AdminToolsFilter` loads."""

    q: str
    category: str
    state: str


class TrialForm(Form):
    """An input for a test. `show`: only show it in another form."""

    typed = Word("form", "json", load_default="json")
    raw = Text(max=1_048_576)
    show = Word("form", "json")


class TrialSent(TypedDict):
    """What `TrialForm` loads."""

    typed: str
    raw: NotRequired[str]
    show: NotRequired[str]


# -- what the pages need -------------------------------------------------------------------------------------------


def shown(tool: ListedTool, view: InputView) -> Context:
    """The page of a tool, with this input for a test."""
    return {**view, "tool": tool, "breaker": breakers.state(tool.id), "trial": None}


def example(tool: ListedTool) -> object:
    """What a test begins with."""
    return inputs.MISSING if tool.current.example_input is None else tool.current.example_input


def as_typed(tool_id: UUID) -> Context:
    """The page with what was typed, whatever it is worth."""
    tool = tools.get(tool_id)
    return shown(tool, input_views.of_form(tool.current.input_schema, forms.typed()))


def typed_input(sent: TrialSent) -> object:
    """The input that was typed. Raises `errors.Invalid`."""
    return inputs.read(forms.typed()) if sent["typed"] == "form" else inputs.parse(sent.get("raw", ""))


def tried(tool: ListedTool, value: object) -> Context:
    """Call the tool; what it answered. Raises `errors.Invalid` with the names of fields."""
    try:
        trial = adapters.try_out(boot.outbound(), tool.current, {"input": value}, request_id=g.request_id)
    except errors.Invalid as error:
        raise inputs.located(error, forms.typed()) from None
    return {"trial": trial, "answer": None if trial.output is None else trees.of(trial.output)}


def asked_archiving(tool_id: UUID) -> Context:
    """What archiving a tool ends."""
    tool, here = tools.get(tool_id), url("admin_tool", tool_id=tool_id)
    effects = [
        "New runs of it are refused. Accepted runs, including those still waiting, are not affected.",
        "Its versions, runs and statistics stay. It cannot be changed any more, and its slug stays taken.",
        "To hide it only for a while, make it inactive in the editor instead.",
    ]
    question = {"asked": f"Archive {tool.name} for good?", "effects": effects, "fields": [], "label": "Archive it"}
    return {**question, "danger": True, "path": url("archive_tool", tool_id=tool_id), "back": here}


# -- views ---------------------------------------------------------------------------------------------------------


@blp.get("/admin/tools")
@auth.admin
@page("admin_tools.html")
def admin_tools() -> Context:
    """All tools, newest first."""
    query: AdminToolsAsked = lists.query(AdminToolsFilter)
    filters = {name: value for name, value in query.items() if name in ("q", "category")}
    state = query.get("state", "")
    found = tools.everything(query["window"], q=query.get("q"), category=query.get("category"), **STATES[state])
    return {"page": found, "pages": lists.pages(found), "filters": filters, "state": state, "states": [*STATES][1:]}


@blp.get("/admin/tools/<uuid:tool_id>")
@auth.admin
@page("admin_tool.html")
def admin_tool(tool_id: UUID) -> Context:
    """One tool."""
    tool = tools.get(tool_id)
    return shown(tool, input_views.of_value(tool.current.input_schema, example(tool), "form"))


@blp.post("/admin/tools/<uuid:tool_id>/test")
@auth.admin
@action("admin_tool.html", again=as_typed)
def test_tool(tool_id: UUID) -> Context:
    """Call it once and show the answer, its price and time; or show the same input in another form."""
    sent: TrialSent = forms.load(TrialForm)
    tool, value = tools.get(tool_id), typed_input(sent)
    view = input_views.of_typed(tool.current.input_schema, value, sent.get("show", sent["typed"]))
    tested = {} if "show" in sent else tried(tool, value)
    return {**shown(tool, view), **tested, "form": forms.state(forms.typed() if view["too_large"] else {})}


@blp.post("/admin/tools/<uuid:tool_id>/breaker/reset")
@auth.admin
@action("admin_tool.html", again=as_typed)
def close_breaker(tool_id: UUID) -> Response:
    """Close its circuit breaker."""
    editing.reset_breaker(auth.actor(), tool_id)
    return go("admin_tool", tool_id=tool_id, said="breaker-reset")


@blp.get("/admin/tools/<uuid:tool_id>/archive")
@auth.admin
@page("confirm.html")
def ask_archiving(tool_id: UUID) -> Context:
    """Ask before it is archived."""
    return asked_archiving(tool_id)


@blp.post("/admin/tools/<uuid:tool_id>/archive")
@auth.admin
@action("confirm.html", again=asked_archiving)
def archive_tool(tool_id: UUID) -> Response:
    """Archive it."""
    editing.archive(auth.actor(), tool_id)
    return go("admin_tool", tool_id=tool_id, said="tool-archived")
