"""Trying a tool out: one call of its current version, past breaker and queue, which nobody is charged for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from common import tools
from common.kit import crypto
from common.kit.clock import uuid7
from common.tools import Version
from common.tools.adapters.exchange import Ids, ToolFailure, ToolResult

#: Somebody sits and waits for the answer.
MAX_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Trial:
    """How it went; without an `error_code`, well. `tokens`: what a caller would have been charged."""

    output: Any = None
    tokens: int = 0
    error_code: str | None = None
    error_detail: str | None = None
    http_status: int | None = None
    latency_ms: int | None = None


def run(call: Callable[..., ToolResult], version: Version, value: Any, request_id: str) -> Trial:
    """Call the tool once. `call(version, value, secret=…, ids=…)` is the way to it. Raises `ToolInputRejected`."""
    tools.validate_input(version, value)
    short = replace(version, timeout_seconds=min(version.timeout_seconds, MAX_SECONDS))
    try:
        result = call(short, value, secret=_secret(version), ids=Ids(uuid7(), request_id))
    except ToolFailure as failure:
        return Trial(
            None, 0, failure.code, failure.operator_detail or failure.detail, failure.http_status, failure.duration_ms
        )
    if fault := tools.output_fault(version, result.output):
        return Trial(result.output, 0, "output_rejected", fault, result.http_status, result.duration_ms)
    tokens = version.price.charge(result.units, version.price.max_tokens)
    return Trial(result.output, tokens, http_status=result.http_status, latency_ms=result.duration_ms)


def _secret(version: Version) -> str | None:
    try:
        return version.secret()
    except crypto.Undecryptable as error:
        raise ToolFailure("credential_unavailable", "The tool's credential cannot be read.", sent=False) from error
