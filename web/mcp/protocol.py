"""The words of the Model Context Protocol: revisions, error codes, names of `_meta`, and who this server is."""

from __future__ import annotations

from typing import Final

from common.settings.version import VERSION

#: Revisions whose requests stand alone: each says its version and what its client can do.
MODERN: Final = ("2026-07-28",)
#: Revisions that begin with `initialize`, newest first. They are served without sessions.
HANDSHAKE: Final = ("2025-11-25", "2025-06-18", "2025-03-26")
#: The revision of a request that names none (Streamable HTTP, since 2025-06-18).
UNNAMED: Final = "2025-03-26"

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
SERVER_KEY: Final = "io.modelcontextprotocol/serverInfo"
#: The extension of long calls (SEP-2663).
TASKS: Final = "io.modelcontextprotocol/tasks"
#: What is ours in `_meta`.
OURS: Final = "com.joyfullhub/"

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
#: For everything that HTTP has a status for; the `data` is the problem.
REFUSED: Final = -32000
HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022

SERVER_INFO: Final = {"name": "joyfull-hub", "title": "Joyfull Hub", "version": VERSION}
INSTRUCTIONS: Final = (
    "Each tool here is billed in tokens; the end of its description says what a call costs at most. Tokens are held "
    "when a call is accepted, and charged by its price when it ends; a call that fails is free. hub_quote tells the "
    "price of one call beforehand, hub_balance what is left, hub_invocation what became of a call: all three are free."
)
"""Shown to the model by clients that want to."""
