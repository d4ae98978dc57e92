"""One run: its status in a sentence, what happened when, its receipt, input and output, and what can be done."""

from __future__ import annotations

import json
from typing import NotRequired, TypedDict
from uuid import UUID

from flask import Response, current_app

from common import invocations
from common.invocations import DEFAULT_EXPIRY
from common.invocations import receipts as signed_receipts
from common.kit import crypto
from common.settings.links import API_PREFIX
from web.console import downloads, explanations, forms, run_details, snippets
from web.console.blueprint import Context, action, blp, go, page
from web.console.forms import Form
from web.console.rendering import url
from web.http import auth, large_reads, limits, submissions
from web.http.fields import Text


class AgainForm(Form):
    key = Text(max=64)


class AgainSent(TypedDict):
    """What `AgainForm` loads."""

    key: NotRequired[str]


# -- what the pages need -------------------------------------------------------------------------------------------


def of_run(story: invocations.Story) -> Context:
    """The page of a run of the caller's."""
    run = story.invocation
    files = {name: url(f"run_{name}", invocation_id=run.id) for name in ("input", "output")}
    return {**run_details.details(story, files, is_own=True), "curl": curl(run)}


def stored(invocation_id: UUID) -> invocations.Invocation:
    """A run with its input and output, however large."""
    large_reads.begin()
    return invocations.get(invocation_id, auth.caller().user_id)


def curl(run: invocations.Invocation) -> str:
    """The same call for a shell; empty where the input is not at hand."""
    if not run.payloads or run.input is None:
        return ""
    address = f"{current_app.config['PUBLIC_URL']}{API_PREFIX}/tools/{run.tool_slug}/invoke"
    sent: dict[str, object] = {"input": json.loads(str(run.input))}
    if run.stream:
        sent["stream"] = True
    if run.metadata:
        sent["metadata"] = dict(run.metadata)
    expiry = round((run.expires_at - run.created_at).total_seconds())
    if expiry != DEFAULT_EXPIRY:
        sent["expires_in"] = expiry
    return snippets.curl(address, sent, crypto.token(12))


def canceling(invocation_id: UUID) -> Context:
    """The question before it."""
    run = invocations.get_within(invocation_id, auth.caller().user_id, run_details.SHOWN_BYTES)
    here = url("run", invocation_id=invocation_id)
    return {
        "asked": "Cancel this run?",
        "effects": explanations.of_canceling(run, invocations.shown_so_far(run)),
        "path": f"{here}/cancel",
        "fields": [],
        "label": "Cancel the run",
        "back": here,
        "danger": True,
    }


def repeating(invocation_id: UUID) -> Context:
    """The question before it, with the most that it can cost."""
    price = invocations.rerun_price(auth.caller().user_id, invocation_id)
    here = url("run", invocation_id=invocation_id)
    cost = "The tool cannot be called any more."
    if price.max_tokens is not None:
        cost = f"It holds {price.max_tokens:,} tokens, the most that it can cost; a run that fails is free."
    return {
        "asked": f"Run {price.tool} again?",
        "effects": [cost, "The input is the same, the tool's current version is called, and this run stays as it is."],
        "path": f"{here}/again",
        "fields": [("key", crypto.token(12))],
        "label": "Run it again",
        "back": here,
    }


# -- views ---------------------------------------------------------------------------------------------------------


@blp.get("/runs/<uuid:invocation_id>", endpoint="run")
@auth.needs("invocations:read")
@page("run.html", parts=("run_now",))
def show(invocation_id: UUID) -> Context:
    """Everything about a run."""
    owner = auth.caller().user_id
    return of_run(
        invocations.story(owner, invocation_id, most_bytes=run_details.SHOWN_BYTES, window=run_details.WINDOW)
    )


@blp.get("/runs/<uuid:invocation_id>/input.json", endpoint="run_input")
@auth.needs("invocations:read")
@page("run.html")
def input_file(invocation_id: UUID) -> Response:
    """The input as a file."""
    return downloads.json_file(f"{invocation_id}-input.json", stored(invocation_id).input)


@blp.get("/runs/<uuid:invocation_id>/output.json", endpoint="run_output")
@auth.needs("invocations:read")
@page("run.html")
def output_file(invocation_id: UUID) -> Response:
    """The output as a file."""
    return downloads.json_file(f"{invocation_id}-output.json", stored(invocation_id).output)


@blp.get("/runs/<uuid:invocation_id>/receipt.jws", endpoint="run_receipt")
@auth.needs("invocations:read")
@page("run.html")
def receipt_file(invocation_id: UUID) -> Response:
    """The signed receipt as a file."""
    large_reads.begin()
    issued = signed_receipts.issue(invocation_id, auth.caller().user_id)
    large_reads.count_bytes(issued.bytes_read)
    headers = {"Content-Disposition": f'attachment; filename="{invocation_id}-receipt.jws"'}
    return Response(issued.receipt, content_type="application/jose", headers=headers)


receipt_file.produces = ["application/jose"]  # type: ignore[attr-defined]
for file in (input_file, output_file):
    file.produces = ["application/json"]  # type: ignore[attr-defined]


@blp.get("/runs/<uuid:invocation_id>/cancel", endpoint="cancel_run")
@auth.needs("invocations:write")
@page("confirm.html")
def ask_cancel(invocation_id: UUID) -> Context:
    """What canceling costs."""
    return canceling(invocation_id)


@blp.post("/runs/<uuid:invocation_id>/cancel")
@auth.needs("invocations:write")
@action("confirm.html", again=canceling)
def cancel(invocation_id: UUID) -> Response:
    """Cancel it, or ask its worker to stop."""
    done = invocations.cancel(auth.caller(), invocation_id)
    return go("run", invocation_id=invocation_id, said="run-canceled" if done else "stopping")


@blp.get("/runs/<uuid:invocation_id>/again", endpoint="again")
@auth.needs("invocations:write")
@page("confirm.html")
def ask_again(invocation_id: UUID) -> Context:
    """What running it again would hold."""
    return repeating(invocation_id)


@blp.post("/runs/<uuid:invocation_id>/again")
@auth.needs("invocations:write")
@limits.submits
@action("confirm.html", again=repeating)
def run_again(invocation_id: UUID) -> Response:
    """Submit it once more, and go to the new run."""
    sent: AgainSent = forms.load(AgainForm)
    submissions.require_allowed()
    submitted = submissions.rerun(invocation_id, {}, sent.get("key"))
    return go("run", invocation_id=submitted.id)
