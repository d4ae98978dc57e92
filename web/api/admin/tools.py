"""The catalogue for admins: add a tool, change it, try it, take it out; and its circuit breaker."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import marshmallow as ma
from flask import g
from marshmallow import validate

from common import boot, errors, tools, webhooks
from common.kit.paging import Page
from common.models.tools import ADAPTERS, AUTH_TYPES, METHODS
from common.tools import Listed, adapters, breakers, editing
from common.tools.adapters import Trial
from web.api.blueprint import Blueprint
from web.api.tools import ToolOut, ToolQuery
from web.http import auth
from web.http.answers import located
from web.http.schemas import Body, Flag, Instant, JsonObject, Number, Pairs, Resource, Secret, Text, Tokens, Whole, Word

blp = Blueprint("admin_tools", __name__, url_prefix="/admin/tools", description="The catalogue, for admins")

#: RFC 6901.
_POINTER = validate.Regexp(r"(?:/(?:[^~/]|~[01])*)*\Z")
_SLUG = validate.Regexp(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")


# -- schemas -----------------------------------------------------------------------------------------------------


class PerUnitIn(Body):
    pointer = Text(required=True, max=500, blank=True, validate=_POINTER)
    tokens = Number(required=True)
    unit = Text(required=True, max=100, line=True, nfc=True)


class PriceIn(Body):
    base_tokens = Tokens(required=True)
    per_unit = ma.fields.Nested(PerUnitIn, allow_none=True, load_default=None)
    max_tokens = Tokens(required=True, metadata={"description": "Held at submit; never charged more."})


class AuthIn(Body):
    type = Word(*AUTH_TYPES, required=True)
    secret = Secret(metadata={"description": "Never shown. Left out of a change: the stored one stays."})
    header_name = Text(max=200, metadata={"description": "For `header`."})
    username = Text(max=500, line=True, metadata={"description": "For `basic`."})


class ToolChanges(Body):
    slug = Text(max=63, validate=_SLUG)
    name = Text(max=200, line=True, nfc=True)
    description = Text(max=10_000, blank=True, nfc=True, allow_none=True)
    category = Text(max=100, line=True, nfc=True, allow_none=True)
    endpoint_url = Text(max=2048)
    adapter = Word(*ADAPTERS)
    method = Word(*METHODS)
    headers = Pairs(
        keys=ma.fields.String(validate=validate.Length(1, 200)),
        values=ma.fields.String(validate=validate.Length(0, 4096)),
        validate=validate.Length(max=50),
    )
    auth = ma.fields.Nested(AuthIn)
    input_schema = JsonObject(metadata={"description": "JSON Schema; no references to other documents."})
    output_schema = JsonObject(allow_none=True)
    example_input = ma.fields.Raw(allow_none=True)
    result_pointer = Text(max=500, blank=True, validate=_POINTER, allow_none=True)
    price = ma.fields.Nested(PriceIn)
    timeout_seconds = Whole(1, 600)
    max_attempts = Whole(1, 10)
    idempotent = Flag()
    is_active = Flag()


class ToolIn(ToolChanges):
    slug = Text(required=True, max=63, validate=_SLUG)
    name = Text(required=True, max=200, line=True, nfc=True)
    endpoint_url = Text(required=True, max=2048)
    input_schema = JsonObject(required=True, metadata={"description": "JSON Schema; no references elsewhere."})
    price = ma.fields.Nested(PriceIn, required=True)


class AuthOut(Resource):
    """Without the secret; `header_name` and `username` where the type has them."""

    type = Word(*AUTH_TYPES, required=True)
    header_name = Text()
    username = Text()

    def on_bind_field(self, field_name: str, field_obj: ma.fields.Field[Any]) -> None:
        super().on_bind_field(field_name, field_obj)
        field_obj.required = field_name == "type"


class AdminTool(ToolOut):
    endpoint_url = Text(required=True, attribute="current.endpoint_url")
    adapter = Word(*ADAPTERS, required=True, attribute="current.adapter")
    method = Word(*METHODS, required=True, attribute="current.method")
    headers = ma.fields.Dict(
        keys=ma.fields.String(), values=ma.fields.String(), required=True, attribute="current.headers"
    )
    auth = ma.fields.Nested(AuthOut, required=True, attribute="current.auth")
    result_pointer = Text(required=True, allow_none=True, attribute="current.result_pointer")
    is_active = Flag(required=True)
    archived_at = Instant(required=True, allow_none=True)
    created_at = Instant(required=True)


class AdminToolQuery(ToolQuery):
    is_active = Flag()
    is_archived = Flag()


class TrialIn(Body):
    input = ma.fields.Raw(allow_none=True, metadata={"description": "Default: the tool's `example_input`."})


class TrialFault(Resource):
    code = Text(required=True)
    detail = Text(required=True)


class TrialOut(Resource):
    status = Word("succeeded", "failed", required=True)
    output = ma.fields.Raw(required=True, allow_none=True)
    error = ma.fields.Nested(TrialFault, required=True, allow_none=True)
    tokens = Tokens(required=True, metadata={"description": "What a caller would have been charged."})
    http_status = Whole(required=True, allow_none=True)
    latency_ms = Whole(required=True, allow_none=True)
    version = Whole(required=True)


class BreakerOut(Resource):
    state = Word("closed", "open", "half_open", required=True)
    failures = Whole(required=True, metadata={"description": "In a row."})
    opened_at = Instant(required=True, allow_none=True)
    retry_at = Instant(required=True, allow_none=True, metadata={"description": "From then on one call may try."})


# -- views -------------------------------------------------------------------------------------------------------


@blp.get("")
@auth.admin
@blp.arguments(AdminToolQuery, location="query")
@blp.page(AdminTool)
def index(query: dict[str, Any]) -> Page[Any]:
    """All tools, inactive and archived ones too"""
    return tools.everything(**query).map(_shown)


@blp.post("")
@auth.admin
@blp.arguments(ToolIn)
@blp.response(201, AdminTool, headers=["Location"])
@blp.raises(errors.SlugTaken, errors.UrlRefused)
def create(body: dict[str, Any]) -> Any:
    """Add a tool

    Defaults: adapter `http_json`, method POST, no headers, auth `{"type": "none"}`, 30 seconds, 3 attempts, not
    idempotent, active; the rest null.

    `http_json` sends `input` itself as the JSON body (GET: as query parameters), with the tool's headers and
    credential, `Idempotency-Key` (the invocation's id, the same on every attempt) and `X-Request-ID`; `output` is the
    whole answer, or the value at `result_pointer`. `chat_completion` speaks the OpenAI-compatible protocol; it leaves
    out `stream` and `stream_options`. Redirects are not followed, and an answer has at most 5 MiB. It is JSON, whether
    it is called `application/json`, `…+json` or `text/…`. Any 2xx is the result, 202 too.

    It is called again after 1, 2, 4, … seconds (at most 60, with jitter; a `Retry-After` counts up to an hour) when the
    connection failed, on 408, 425, 429, 502, 503, 504, 520–524, 529 and when it took too long, while attempts and time
    are left. One that is not `idempotent` is only called again when it surely did not run: connection refused, or 429.

    Patterns in the schemas run in linear time: look-around, back-references, atomic groups and conditions are not
    supported, and one may take 1,000,000 bytes once it is compiled.
    """
    draft = editing.Draft.of(body)
    _check_url(body)
    tool = editing.create(auth.actor(), draft)
    return _shown(tool), located(".show", tool_id=tool.id)


@blp.get("/<uuid:tool_id>")
@auth.admin
@blp.response(200, AdminTool)
def show(tool_id: UUID) -> Any:
    """One tool"""
    return _shown(tools.get(tool_id))


@blp.patch("/<uuid:tool_id>")
@auth.admin
@blp.arguments(ToolChanges)
@blp.response(200, AdminTool)
@blp.raises(errors.SlugTaken, errors.UrlRefused, errors.Conflict)
def edit(body: dict[str, Any], tool_id: UUID) -> Any:
    """Change a tool: a new version

    What was accepted before finishes on the version that it was accepted with. An archived tool cannot be changed.
    """
    _check_url(body)
    return _shown(editing.change(auth.actor(), tool_id, body))


@blp.delete("/<uuid:tool_id>")
@auth.admin
@blp.response(204)
def archive(tool_id: UUID) -> None:
    """Take a tool out of the catalogue: its history stays, what was accepted finishes"""
    editing.archive(auth.actor(), tool_id)


@blp.post("/<uuid:tool_id>/test")
@auth.admin
@blp.arguments(TrialIn, required=False)
@blp.response(200, TrialOut)
@blp.raises(errors.ToolInputRejected)
def test(body: dict[str, Any], tool_id: UUID) -> Any:
    """Call a tool once, for at most 60 seconds, and charge nobody

    A breaker is neither asked nor told. A call that fails is still 200, with its `error`.
    """
    version = tools.get(tool_id).current
    value = body.get("input", version.example_input)
    if value is None and "input" not in body:
        raise errors.Invalid(errors=[errors.FieldError("/input", "Missing, and the tool has no example_input.")])
    tried = adapters.try_out(boot.outbound(), version, value, request_id=g.request_id)
    return _outcome(tried, version.version)


@blp.get("/<uuid:tool_id>/breaker")
@auth.admin
@blp.response(200, BreakerOut)
def breaker(tool_id: UUID) -> breakers.State:
    """The tool's circuit breaker, to about a second"""
    return breakers.state(tools.get(tool_id).id)


@blp.post("/<uuid:tool_id>/breaker/reset")
@auth.admin
@blp.response(200, BreakerOut)
def reset_breaker(tool_id: UUID) -> breakers.State:
    """Close the tool's circuit breaker and forget its failures"""
    return editing.reset_breaker(auth.actor(), tool_id)


def _check_url(body: dict[str, Any]) -> None:
    if "endpoint_url" in body:
        webhooks.check_url(boot.outbound(), body["endpoint_url"], "/endpoint_url", operator=True)


def _shown(tool: Listed) -> dict[str, Any]:
    names = ("id", "slug", "name", "description", "category", "current", "is_active", "archived_at", "created_at")
    shown = {name: getattr(tool, name) for name in names}
    return {**shown, "is_available": tool.is_active and not breakers.retry_after(tool.id)}


def _outcome(tried: Trial, version: int) -> dict[str, Any]:
    failed = tried.error_code is not None
    return {
        "status": "failed" if failed else "succeeded",
        "output": tried.output,
        "error": {"code": tried.error_code, "detail": tried.error_detail} if failed else None,
        "tokens": tried.tokens,
        "http_status": tried.http_status,
        "latency_ms": tried.latency_ms,
        "version": version,
    }
