"""The editor of tools: a new one, made from its URL, or a new version of one; with the form that users will see."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast
from uuid import UUID

from flask import Response, request

from common import boot, errors, tools
from common.kit.expecting import Expect
from common.tools import ListedTool, editing
from web.console import forms, repeats, responses, tool_forms, tool_previews
from web.console.blueprint import Context, action, blp, go, page
from web.console.forms import FormState
from web.console.tool_forms import ToolForm, ToolSent
from web.http import auth


def editor(tool: ListedTool | None) -> Context:
    """The editor of a tool, or of a new one, with the form that users will see for what was typed."""
    begun = tool_forms.beginning(request.args.get("url", "")[:2048]) if tool is None else tool_forms.values(tool)
    preview = tool_previews.previewed(forms.typed() or begun)
    choices = {"adapters": tool_forms.ADAPTER_CHOICES, "methods": tool_forms.METHOD_CHOICES}
    choices["auth_types"] = tool_forms.AUTH_CHOICES
    return {"tool": tool, "values": begun, "preview": preview, "blank": FormState(), **choices}


def blank() -> Context:
    """The editor of a new tool."""
    return editor(None)


def of_tool(tool_id: UUID) -> Context:
    """The editor of a tool."""
    return editor(tools.get(tool_id))


def previewing(tool: Callable[[], ListedTool | None]) -> Context | Response:
    """The editor with the form that users will see; or only that, while its schema is typed. Raises `Invalid`."""
    forms.load(ToolForm)
    if request.args.get("part") == "tool_preview":
        return responses.part("tool_preview", {"preview": tool_previews.previewed(forms.typed()), "blank": FormState()})
    with tool_forms.pointing():
        tool_previews.preview(forms.typed())
    return {**editor(tool()), "form": forms.state(forms.typed())}


def typed_once(sent: ToolSent) -> dict[str, object]:
    """All that was typed, for a repeat to be known by."""
    return {**forms.typed(), **cast(dict[str, object], sent)}


def unchanged_since(version: int | None) -> Expect[ListedTool]:
    """Expects the version that the form was made of, if it says so."""

    def expect(now: ListedTool) -> None:
        if version not in (None, now.current.version):
            raise errors.PreconditionFailed(
                f"The tool was changed meanwhile: version {now.current.version} is current. Nothing was saved. What "
                "you typed is kept below; look at what was changed, and save again to put this in its place."
            )

    return expect


# -- a new tool ----------------------------------------------------------------------------------------------------


@blp.get("/admin/tools/new")
@auth.admin
@page("admin_tool_editor.html")
def new_tool() -> Context:
    """A form for a tool, begun with its URL if that is given."""
    return blank()


@blp.post("/admin/tools/new/preview")
@auth.admin
@action("admin_tool_editor.html", again=blank)
def preview_new_tool() -> Context | Response:
    """The form that users will see."""
    return previewing(lambda: None)


@blp.post("/admin/tools")
@auth.admin
@action("admin_tool_editor.html", again=blank)
def create_tool() -> Response:
    """Create a tool."""
    sent: ToolSent = forms.load(ToolForm)
    with tool_forms.pointing():
        described = tool_forms.described(forms.typed(), sent.get("secret"))
        draft = editing.Draft.of(described)
        editing.check_url(boot.outbound(), described)
        made = editing.create(auth.actor(), draft, once=repeats.of(typed_once(sent)))
    return go("admin_tool", tool_id=made.id, said="tool-created")


# -- a new version -------------------------------------------------------------------------------------------------


@blp.get("/admin/tools/<uuid:tool_id>/edit")
@auth.admin
@page("admin_tool_editor.html")
def edit_tool(tool_id: UUID) -> Context:
    """The editor of a tool."""
    return of_tool(tool_id)


@blp.post("/admin/tools/<uuid:tool_id>/preview")
@auth.admin
@action("admin_tool_editor.html", again=of_tool)
def preview_tool(tool_id: UUID) -> Context | Response:
    """The form that users will see."""
    return previewing(partial(tools.get, tool_id))


@blp.post("/admin/tools/<uuid:tool_id>")
@auth.admin
@action("admin_tool_editor.html", again=of_tool)
def change_tool(tool_id: UUID) -> Response:
    """Make a new version of it, if something differs."""
    sent: ToolSent = forms.load(ToolForm)
    with tool_forms.pointing():
        described = tool_forms.described(forms.typed(), sent.get("secret"))
        editing.check_url(boot.outbound(), described)
        editing.change(auth.actor(), tool_id, described, expect=unchanged_since(sent.get("version")))
    return go("admin_tool", tool_id=tool_id, said="tool-changed")
