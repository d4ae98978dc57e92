"""The tools, and the page on which one is tried: its input as a form or as JSON, what it would cost, and as code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NotRequired, TypedDict
from uuid import UUID

from flask import Response, current_app, request

from common import errors, invocations, tools
from common.invocations import DEFAULT_EXPIRY, MAX_EXPIRY, SubmitFields
from common.kit import crypto
from common.kit.paging import Window
from common.settings.links import API_PREFIX
from common.tools import ListedTool, breakers
from web.console import forms, input_views, inputs, json_texts, lists, snippets
from web.console.blueprint import Context, action, blp, go, page
from web.console.forms import Form
from web.console.input_views import InputView
from web.console.snippets import Snippet
from web.http import auth, large_reads, limits, submissions
from web.http.fields import Flag, Text, Tokens, Whole, Word
from web.http.pagination import ListArguments, ListQuery

#: Choices of the deadline, in seconds.
DEADLINES: Final = ((300, "5 minutes"), (3_600, "1 hour"), (DEFAULT_EXPIRY, "1 day"), (MAX_EXPIRY, "7 days"))


class ToolFilter(ListQuery):
    q = Text(max=200)
    category = Text(max=100)


class ToolsAsked(ListArguments, total=False):
    """What `ToolFilter` loads."""

    q: str
    category: str


class RunForm(Form):
    """What belongs to a run beside its input. `typed`: how that was typed; `key`: two clicks are one run."""

    typed = Word("form", "json", load_default="json")
    raw = Text(max=1_048_576)
    show = Word("form", "json", "code", load_default="form")
    key = Text(max=64)
    max_tokens = Tokens()
    expires_in = Whole(1, MAX_EXPIRY, load_default=DEFAULT_EXPIRY)
    end_user = Text(max=128, line=True)
    webhook_url = Text(max=2048)
    labels = Text(max=20_000)
    stream = Flag(load_default=False)


class RunSent(TypedDict):
    """What `RunForm` loads."""

    typed: str
    raw: NotRequired[str]
    show: str
    key: NotRequired[str]
    max_tokens: NotRequired[int]
    expires_in: int
    end_user: NotRequired[str]
    webhook_url: NotRequired[str]
    labels: NotRequired[str]
    stream: bool


# -- what the page needs -------------------------------------------------------------------------------------------


def shown(found: ListedTool, view: InputView) -> Context:
    """The page of a tool with this input."""
    return {
        **view,
        "tool": found,
        "breaker": None if found.is_available else breakers.state(found.id),
        "key": crypto.token(12),
        "quote": None,
        "snippets": [],
        "deadlines": DEADLINES,
        "default_deadline": DEFAULT_EXPIRY,
    }


def as_typed(tool: str) -> Context:
    """The page with what was typed, whatever it is worth."""
    given, found = forms.typed(), tools.find(tool)
    return {**shown(found, input_views.of_form(found.current.input_schema, given)), "key": given.get("key", "")}


def beginning(found: ListedTool, source: str, show: str) -> InputView:
    """The input to begin with: that of a run of the caller's, or the tool's example."""
    example, schema = found.current.example_input, found.current.input_schema
    value = inputs.MISSING if example is None else example
    if not source:
        return input_views.of_value(schema, value, show)
    text = stored(found, source)
    if text is not None and len(text) > json_texts.MOST_CHARS:
        return {**input_views.of_value(schema, value, show), "too_large": input_views.NOT_READ}
    return input_views.of_value(schema, inputs.MISSING if text is None else json.loads(text), show)


def stored(found: ListedTool, source: str) -> str | None:
    """The input of a run, or of the `last` one of the tool, if it is stored; of a longer one, only a beginning."""
    large_reads.begin()
    owner = auth.caller().user_id
    try:
        if source != "last":
            return invocations.beginnings(UUID(source), owner, json_texts.MOST_CHARS + 1).input
        last = invocations.listing(owner, Window(1), tool=found.slug, payloads=False).items
        return invocations.beginnings(last[0].id, owner, json_texts.MOST_CHARS + 1).input if last else None
    except (ValueError, errors.NotFound):
        return None


def typed_input(sent: RunSent) -> object:
    """The input that was typed. Raises `errors.Invalid`."""
    return inputs.read(forms.typed()) if sent["typed"] == "form" else inputs.parse(sent.get("raw", ""))


def fields_of(value: object, sent: RunSent) -> SubmitFields:
    """What is submitted: the input and the options that were given. Raises `errors.Invalid`."""
    fields: SubmitFields = {
        "input": value,
        "expires_in": sent["expires_in"],
        "metadata": labels(sent.get("labels", "")),
    }
    if "max_tokens" in sent:
        fields["max_tokens"] = sent["max_tokens"]
    if "end_user" in sent:
        fields["end_user"] = sent["end_user"]
    if "webhook_url" in sent:
        fields["webhook_url"] = sent["webhook_url"]
    if sent["stream"]:
        fields["stream"] = True
    return fields


def labels(text: str) -> dict[str, str]:
    """Metadata, typed as `name=value` on a line each. Raises `errors.Invalid`."""
    pairs = [line.partition("=") for line in text.split("\n") if line.strip()]
    found = {name.strip(): value.strip() for name, _, value in pairs}
    wrong = [name for name, equals, value in pairs if not equals or not 0 < len(name.strip()) <= 64 or len(value) > 512]
    if wrong or len(found) > 16 or len(found) < len(pairs):
        detail = "At most 16 different names of 64 characters, each with = and a value of at most 512."
        raise errors.Invalid("The metadata is not valid.", errors=[errors.FieldError("/labels", detail)])
    return found


def code(found: ListedTool, value: object, sent: RunSent) -> list[Snippet]:
    """The same call as code."""
    whole = fields_of(value, sent)
    asked: Mapping[str, object] = {name: it for name, it in whole.items() if it not in ({}, DEFAULT_EXPIRY)}
    url = f"{current_app.config['PUBLIC_URL']}{API_PREFIX}/tools/{found.slug}/invoke"
    return snippets.of_call(url, {"input": value, **asked}, crypto.token(12))


#: Fields that stay as they were typed while the input is shown in another form.
OPTIONS: Final = ("max_tokens", "expires_in", "end_user", "webhook_url", "labels", "stream")


@contextmanager
def pointing() -> Iterator[None]:
    """Errors in the block point to the fields of the form."""
    try:
        yield
    except errors.Invalid as error:
        raise inputs.located(error, forms.typed()) from None


# -- views ---------------------------------------------------------------------------------------------------------


@blp.get("/tools", endpoint="tools")
@auth.needs("tools:read")
@page("tools.html")
def index() -> Context:
    """The tools that can be run."""
    query: ToolsAsked = lists.query(ToolFilter)
    found = tools.browse(auth.caller().user_id, **query)
    return {"page": found, "pages": lists.pages(found), "query": query}


@blp.get("/tools/<tool>")
@auth.needs("tools:read")
@page("tool.html")
def tool(tool: str) -> Context:
    """Try a tool: with its example, or with the input of a run (`from`, its id or `last`)."""
    found = tools.find(tool)
    return shown(found, beginning(found, request.args.get("from", ""), request.args.get("show", "form")))


@blp.post("/tools/<tool>/input")
@auth.needs("tools:read")
@action("tool.html", again=as_typed)
def tool_input(tool: str) -> Context:
    """The same input in another form: fields, JSON, or code."""
    sent: RunSent = forms.load(RunForm)
    large_reads.begin()  # code may have many times the size of its input
    found, value = tools.find(tool), typed_input(sent)
    view = input_views.of_typed(found.current.input_schema, value, sent["show"])
    form = forms.state({name: it for name, it in forms.typed().items() if name in OPTIONS or view["too_large"]})
    return {**shown(found, view), "snippets": [] if view["too_large"] else code(found, value, sent), "form": form}


@blp.post("/tools/<tool>/quote")
@auth.needs("tools:read")
@action("tool.html", again=as_typed)
def tool_quote(tool: str) -> Context:
    """What a run would hold, and whether it would be accepted now."""
    sent: RunSent = forms.load(RunForm)
    found, value = tools.find(tool), typed_input(sent)
    with pointing():
        quoted = invocations.quote(auth.caller(), tool, value, sent.get("max_tokens"))
    view = input_views.of_typed(found.current.input_schema, value, sent["typed"])
    return {**shown(found, view), "quote": quoted, "form": forms.state(forms.typed())}


@blp.post("/tools/<tool>/run")
@auth.needs("invocations:write")
@limits.submits
@action("tool.html", again=as_typed)
def tool_run(tool: str) -> Response:
    """Submit it, and go to the run."""
    sent: RunSent = forms.load(RunForm)
    submissions.require_allowed()
    with pointing():
        submitted = submissions.submit(tool, fields_of(typed_input(sent), sent), sent.get("key"))
    return go("run", invocation_id=submitted.id)
