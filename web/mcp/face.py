"""The policies of what this package serves: MCP, and what tells its clients how to be authorized."""

from __future__ import annotations

from typing import Final

from flask import Response

from common.errors import PlatformError, ScopeMissing, Unauthenticated
from common.settings.links import MCP_PATH, RESOURCE_METADATA
from web.http import credentials, problems, quotas
from web.http.faces import CLOSED, Face
from web.http.responses import absolute_url
from web.mcp import rpc

#: What a client should ask for that is to use all of this.
SCOPES: Final = ("tools:read", "invocations:read", "invocations:write", "subscriptions:read")


def as_rpc(error: PlatformError) -> Response:
    """The error as JSON-RPC; 401 and 403 say where to be authorized, and for what (RFC 6750, RFC 9728)."""
    response = rpc.response_to(error)
    metadata = f'resource_metadata="{absolute_url(RESOURCE_METADATA + MCP_PATH)}"'
    if isinstance(error, Unauthenticated):
        known = response.headers.get("WWW-Authenticate", "Bearer")
        response.headers["WWW-Authenticate"] = f'{known}, {metadata}, scope="{" ".join(SCOPES)}"'
    elif isinstance(error, ScopeMissing):
        scope = f'scope="{error.members["scope"]}"'
        response.headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", {scope}, {metadata}'
    return response


MCP: Final = Face(
    name="mcp",
    prefix=MCP_PATH,
    credential=credentials.bearer_or_api_key,
    headers=CLOSED,
    error=as_rpc,
    quota=quotas.reads,
    unknown_fields="ignored",
)
METADATA: Final = Face(
    name="resource-metadata",
    prefix=RESOURCE_METADATA,
    credential=credentials.none,
    headers=CLOSED,
    error=problems.response_to,
    quota=None,
    unknown_fields="refused",
)
