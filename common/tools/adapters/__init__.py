"""Adapters, one protocol per file; `ask` and `call` choose the one that the tool's version names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

from common.kit import seam
from common.kit.outbound import OutboundClient
from common.tools import Version
from common.tools.adapters import chat_completion, chat_stream, embeddings, http_json, trial
from common.tools.adapters.model import CallIds, Reply, Sink, ToolFailure, ToolRequest, ToolResult
from common.tools.adapters.trial import Trial, TrialIn

__all__ = [
    "ADAPTERS",
    "CallIds",
    "Reply",
    "Sink",
    "ToolAdapter",
    "ToolFailure",
    "ToolRequest",
    "ToolResult",
    "Trial",
    "TrialIn",
    "ask",
    "call",
    "try_out",
]


class ToolAdapter(Protocol):
    """Sends one request; the reply parses the response.

    Raises:
        ToolFailure: with an error code of the API.
        outbound.Aborted: another thread aborted the call.
    """

    def __call__(self, outbound: OutboundClient, request: ToolRequest) -> Reply: ...


ADAPTERS: Mapping[str, ToolAdapter] = {
    "http_json": http_json.ask,
    "chat_completion": chat_completion.ask,
    "embeddings": embeddings.ask,
}


def ask(outbound: OutboundClient, request: ToolRequest) -> Reply:
    """Call a tool once, through the adapter of its version. Raises as `ToolAdapter` does."""
    if request.sink is None:
        send = partial(ADAPTERS[request.version.adapter], outbound, request)
    else:
        send = partial(chat_stream.ask, outbound, request, request.sink)
    return seam.passing("tool", request.ids, request.version, send)


def call(outbound: OutboundClient, request: ToolRequest) -> ToolResult:
    """`ask`, and parse the response."""
    return ask(outbound, request).read()


def try_out(outbound: OutboundClient, version: Version, given: TrialIn, *, request_id: str) -> Trial:
    """Call a tool once for an admin, without charge, with the `input` that was given or else its example input.

    Raises `Invalid` (there is neither), `ToolInputRejected`.
    """
    return trial.run(partial(call, outbound), version, trial.input_of(version, given), request_id)
