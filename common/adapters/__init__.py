"""Ways to call a tool: one adapter per file, and `call`, which picks the one that a tool's version names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from common.adapters import chat_completion, http_json, trial
from common.adapters.exchange import Ids, ToolFailure, ToolResult
from common.adapters.trial import Trial
from common.kit import seam
from common.kit.outbound import Call, Door
from common.tools import Version

__all__ = ["ADAPTERS", "Adapter", "Ids", "ToolFailure", "ToolResult", "Trial", "call", "try_out"]


class Adapter(Protocol):
    """Calls a tool once. `secret` is the tool's credential in clear; `call` lets other threads end the exchange;
    `max_units` is what the caller pays for at most, which the tool is told (None: whatever it takes).

    Raises:
        ToolFailure: with a code of the wire contract.
        outbound.Aborted: the call was ended by another thread.
    """

    def __call__(
        self,
        door: Door,
        version: Version,
        value: Any,
        *,
        secret: str | None,
        ids: Ids,
        call: Call | None = None,
        max_units: int | None = None,
    ) -> ToolResult: ...


ADAPTERS: Mapping[str, Adapter] = {"http_json": http_json.call, "chat_completion": chat_completion.call}


def call(
    door: Door,
    version: Version,
    value: Any,
    *,
    secret: str | None,
    ids: Ids,
    call: Call | None = None,
    max_units: int | None = None,
) -> ToolResult:
    """Call a tool once, through the adapter of its version. Raises as `Adapter` says."""
    send = partial(ADAPTERS[version.adapter], door, version, value, secret=secret, ids=ids, call=call, max_units=max_units)
    return seam.passing("tool", ids, version, send)


def try_out(door: Door, version: Version, value: Any, *, request_id: str) -> Trial:
    """Call a tool once for an admin; charges nobody. Raises `ToolInputRejected`."""
    return trial.run(partial(call, door), version, value, request_id)
