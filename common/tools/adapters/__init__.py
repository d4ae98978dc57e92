"""Ways to call a tool: one adapter per file, and `call`, which picks the one that a tool's version names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from common.kit import jsonb, seam
from common.kit.outbound import Call, OutboundClient
from common.tools import Version
from common.tools.adapters import chat_completion, http_json, trial
from common.tools.adapters.exchange import Ids, Reply, ToolFailure, ToolResult
from common.tools.adapters.trial import Trial

__all__ = ["ADAPTERS", "Adapter", "Ids", "Reply", "ToolFailure", "ToolResult", "Trial", "ask", "call", "try_out"]


class Adapter(Protocol):
    """Asks a tool once; what it said is read by the reply.

    `secret` is the tool's credential in clear; `call` lets other threads end the exchange; `max_units` is what the
    caller pays for at most, which the tool is told (None: whatever it takes).

    Raises:
        ToolFailure: with a code of the wire contract.
        outbound.Aborted: the call was ended by another thread.
    """

    def __call__(
        self,
        outbound: OutboundClient,
        version: Version,
        text: str,
        *,
        secret: str | None,
        ids: Ids,
        call: Call | None = None,
        max_units: int | None = None,
    ) -> Reply: ...


ADAPTERS: Mapping[str, Adapter] = {"http_json": http_json.ask, "chat_completion": chat_completion.ask}


def ask(
    outbound: OutboundClient,
    version: Version,
    text: str,
    *,
    secret: str | None,
    ids: Ids,
    call: Call | None = None,
    max_units: int | None = None,
) -> Reply:
    """Ask a tool once, through the adapter of its version. `text` is the input as JSON. Raises as `Adapter` says."""
    send = partial(
        ADAPTERS[version.adapter], outbound, version, text, secret=secret, ids=ids, call=call, max_units=max_units
    )
    return seam.passing("tool", ids, version, send)


def call(
    outbound: OutboundClient,
    version: Version,
    value: Any,
    *,
    secret: str | None,
    ids: Ids,
    call: Call | None = None,
    max_units: int | None = None,
) -> ToolResult:
    """`ask`, and read what it said."""
    text = jsonb.dumps(value)
    return ask(outbound, version, text, secret=secret, ids=ids, call=call, max_units=max_units).read()


def try_out(outbound: OutboundClient, version: Version, value: Any, *, request_id: str) -> Trial:
    """Call a tool once for an admin; charges nobody. Raises `ToolInputRejected`."""
    return trial.run(partial(call, outbound), version, value, request_id)
