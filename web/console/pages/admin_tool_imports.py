"""Tools from an OpenAPI document, for admins: look at what it has, choose, create."""

from __future__ import annotations

from typing import Final, NotRequired, TypedDict, cast

from flask import Response

from common import boot
from common.errors import PlatformError
from common.tools import importing
from common.tools.importing import ImportedTool, ImportFields
from web.console import forms, repeats, tool_forms
from web.console.blueprint import Context, action, blp, go, page
from web.console.repeats import RepeatableForm
from web.http import auth, validation
from web.http.fields import Many, Secret, Text
from web.http.tool_drafts import ImportInSchema

#: Operations that are shown at once.
MOST: Final = 60


class ImportForm(RepeatableForm):
    url = Text(max=2048)
    base_url = Text(max=2048)
    find = Text(max=200)
    create = Many(Text(max=63), max=50)
    secret = Secret(data_key="auth/secret")


class ImportSent(TypedDict):
    """What `ImportForm` loads."""

    url: NotRequired[str]
    base_url: NotRequired[str]
    find: NotRequired[str]
    create: NotRequired[list[str]]
    secret: NotRequired[str]
    once: NotRequired[str]


def blank(found: list[ImportedTool] | None = None, matching: int = 0) -> Context:
    """The page, with the operations of a document that are shown."""
    values = {**tool_forms.beginning(""), "price/base_tokens": "", "price/max_tokens": ""}
    return {"found": found, "matching": matching, "values": values, "auth_types": tool_forms.AUTH_CHOICES}


def again() -> Context:
    """The page of a form that was refused: with the operations, if they can be read."""
    kept = {
        name: value for name, value in forms.typed().items() if value and name in ("url", "base_url", "find", "create")
    }
    try:
        return read(cast(ImportSent, kept))
    except PlatformError:
        return blank()


def wanted(sent: ImportSent, *, create: bool) -> ImportFields:
    """What was typed, as the API would be sent it. Raises `Invalid`."""
    typed = forms.typed()
    fields = {name: value for name, value in cast(dict[str, object], sent).items() if name in ("url", "base_url")}
    if document := tool_forms.documents(typed, ("document",)):
        fields = {**document, "base_url": fields["base_url"]} if "base_url" in fields else {**document}
    if create:
        fields |= {"create": sent.get("create", []), "price": tool_forms.price(typed)}
        fields["auth"] = tool_forms.auth(typed, sent.get("secret"))
    loaded: ImportFields = validation.loaded(ImportInSchema(), fields, "form")
    return loaded


def chosen(found: list[ImportedTool], sent: ImportSent) -> tuple[list[ImportedTool], int]:
    """Those that are ticked, then those that have what is looked for; and how many there are."""
    ticked, text = sent.get("create", []), sent.get("find", "").lower()
    others = [it for it in found if text in f"{it.slug} {it.name} {it.method} {it.path}".lower()]
    shown = [it for it in found if it.slug in ticked]
    shown += [it for it in others if it.slug not in ticked]
    return shown[:MOST], len(shown)


def read(sent: ImportSent) -> Context:
    """The page with the operations of the document. Raises `Invalid`, `UrlRefused`."""
    found = importing.run(auth.actor(), boot.outbound(), wanted(sent, create=False))
    return blank(*chosen(found.tools, sent))


@blp.get("/admin/tools/import")
@auth.admin
@page("admin_tool_import.html")
def import_tools() -> Context:
    """Where is the document?"""
    return blank()


@blp.post("/admin/tools/import/preview")
@auth.admin
@action("admin_tool_import.html", again=again)
def preview_import() -> Context:
    """What would become of each operation."""
    sent: ImportSent = forms.load(ImportForm)
    with tool_forms.pointing():
        return {**read(sent), "form": forms.state(forms.typed())}


@blp.post("/admin/tools/import")
@auth.admin
@action("admin_tool_import.html", again=again)
def create_imported() -> Response:
    """Create the tools that are ticked: all, or none."""
    sent: ImportSent = forms.load(ImportForm)
    typed = {**forms.typed(), **cast(dict[str, object], sent)}
    with tool_forms.pointing():
        importing.run(auth.actor(), boot.outbound(), wanted(sent, create=True), once=repeats.of(typed))
    return go("admin_tools", said="tools-imported")
