"""MCP: the catalogue as tools for agents (`POST /mcp`).

    endpoint     the route, and which method is answered by what
    messages     a message, and the headers that must agree with it          origins   names and pages that are known
    listing      tools/list                                                  schemas   inputs and outputs as objects
    calls        tools/call: submit and wait                                 results   how it ended
    progress     … as a stream, until it has ended                           tasks     … or as a task
    builtins     the hub's own tools
    metadata     where clients are authorized (RFC 9728)                     face      credentials, errors, quota
    rpc          JSON-RPC                                                    protocol  words of the specification

Why it is written by hand: docs/decisions/mcp.md.
"""

from __future__ import annotations

from flask import Flask

from web.http import faces
from web.mcp import endpoint, face, metadata


def register(app: Flask) -> None:
    """Add the endpoint and its metadata to the application."""
    app.register_blueprint(endpoint.blp)
    app.register_blueprint(metadata.blp)
    faces.assign(app, face.MCP, endpoint.blp)
    faces.assign(app, face.METADATA, metadata.blp)
