"""`/admin/tools`: creating, changing, testing and archiving tools, and their circuit breakers."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from flask import g

from common import boot, errors, tools
from common.identity.idempotency import Once
from common.kit.expecting import Expect
from common.kit.paging import Page
from common.tools import ListedTool, ListedVersion, adapters, breakers, editing
from common.tools.adapters import Trial, TrialIn
from web.api.admin.tool_schemas import (
    AdminToolArguments,
    AdminToolQuery,
    AdminToolSchema,
    AdminVersionSchema,
    BreakerSchema,
    TrialInSchema,
    TrialSchema,
)
from web.api.blueprint import Blueprint
from web.http import auth
from web.http.pagination import ListArguments, ListQuery
from web.http.responses import Headers, location
from web.http.tool_drafts import ToolChangesSchema, ToolInSchema

blp = Blueprint("admin_tools", __name__, url_prefix="/admin/tools", description="Managing tools")
#: A change of anything else makes another version; what is measured does not count.
TAGGED = ("id", "version", "is_active", "archived_at")
tagged = blp.tagged(AdminToolSchema, only=TAGGED)


@blp.get("")
@auth.admin
@blp.arguments(AdminToolQuery, location="query")
@blp.page(AdminToolSchema)
def index(query: AdminToolArguments) -> Page[ListedTool]:
    """All tools, including inactive and archived ones"""
    page = tools.everything(**query)
    return replace(page, items=tools.seen_by(auth.caller().user_id, page.items))


@blp.post("")
@auth.admin
@blp.arguments(ToolInSchema)
@blp.response(201, AdminToolSchema, headers=["Location"])
@blp.raises(errors.SlugTaken, errors.UrlRefused)
@blp.idempotent
@tagged
def create(body: dict[str, object], once: Once) -> tuple[ListedTool, Headers]:
    """Create a tool

    Defaults: adapter `http_json`, method POST, no headers, auth `{"type": "none"}`, 30 seconds, 3 attempts, not
    idempotent, active; null for everything else.

    `http_json` sends `input` as the JSON body (GET: as query parameters), with the tool's headers and credential,
    `Idempotency-Key` (the invocation's id, the same for every attempt) and `X-Request-ID`. `output` is the complete
    response, or the value at `result_pointer`. Properties that `endpoint_url` names, as `{name}` in its path or
    `{?name,name}` at its end, are sent there instead, percent-encoded.

    `chat_completion` uses the OpenAI-compatible protocol and omits `stream` and `stream_options`. Redirects are not
    followed. A response must be JSON of at most 5 MiB, labelled `application/json`, `…+json` or `text/…`. Any 2xx is
    the result, including 202.

    The call is retried after 1, 2, 4, … seconds (at most 60, with jitter; a `Retry-After` is honoured up to an hour)
    after a failed connection, 408, 425, 429, 502, 503, 504, 520–524, 529 or a timeout, while attempts and time are
    left. A tool that is not `idempotent` is retried only if it certainly did not run: connection refused, or 429.

    Patterns in the schemas run in linear time: look-around, back-references, atomic groups and conditions are not
    supported, and a compiled pattern may use at most 1,000,000 bytes.
    """
    draft = editing.Draft.of(body)
    editing.check_url(boot.outbound(), body)
    made = editing.create(auth.actor(), draft, once=once).id
    return _shown(made), location(".show", tool_id=made)


@blp.get("/<uuid:tool_id>")
@auth.admin
@blp.response(200, AdminToolSchema)
@tagged
def show(tool_id: UUID) -> ListedTool:
    """One tool"""
    return _shown(tool_id)


@blp.patch("/<uuid:tool_id>")
@auth.admin
@blp.arguments(ToolChangesSchema)
@blp.response(200, AdminToolSchema)
@blp.raises(errors.SlugTaken, errors.UrlRefused, errors.Conflict)
@tagged
def edit(body: dict[str, object], tool_id: UUID, expect: Expect[ListedTool]) -> ListedTool:
    """Change a tool, which creates a new version

    Invocations accepted before run with the version they were accepted with. An archived tool cannot be changed.
    """
    editing.check_url(boot.outbound(), body)
    return _shown(editing.change(auth.actor(), tool_id, body, expect=expect).id)


@blp.delete("/<uuid:tool_id>")
@auth.admin
@blp.response(204)
@blp.matched(AdminToolSchema, only=TAGGED)
def archive(tool_id: UUID, expect: Expect[ListedTool]) -> None:
    """Archive a tool: its history is kept, and accepted invocations still run"""
    editing.archive(auth.actor(), tool_id, expect=expect)


@blp.get("/<uuid:tool_id>/versions")
@auth.admin
@blp.arguments(ListQuery, location="query")
@blp.page(AdminVersionSchema)
def versions(query: ListArguments, tool_id: UUID) -> Page[ListedVersion]:
    """The versions of a tool and how each is called, newest first, also of an inactive or archived tool

    A page has at most 1 MiB of schemas, or one version.
    """
    return tools.history(tool_id, **query)


@blp.post("/<uuid:tool_id>/test")
@auth.admin
@blp.arguments(TrialInSchema, required=False)
@blp.response(200, TrialSchema)
@blp.raises(errors.ToolInputRejected)
def test(body: TrialIn, tool_id: UUID) -> Trial:
    """Call a tool once, for at most 60 seconds, free of charge

    Neither checks nor updates the circuit breaker. A failed call is still 200, with its `error`.
    """
    version = tools.get(tool_id).current
    return adapters.try_out(boot.outbound(), version, body, request_id=g.request_id)


@blp.get("/<uuid:tool_id>/breaker")
@auth.admin
@blp.response(200, BreakerSchema)
def breaker(tool_id: UUID) -> breakers.BreakerState:
    """The state of the tool's circuit breaker, accurate to about a second"""
    return breakers.state(tools.get(tool_id).id)


@blp.post("/<uuid:tool_id>/breaker/reset")
@auth.admin
@blp.response(200, BreakerSchema)
def reset_breaker(tool_id: UUID) -> breakers.BreakerState:
    """Close the tool's circuit breaker and reset its failures"""
    return editing.reset_breaker(auth.actor(), tool_id)


def _shown(tool_id: UUID) -> ListedTool:
    return tools.seen_by(auth.caller().user_id, [tools.get(tool_id)])[0]
