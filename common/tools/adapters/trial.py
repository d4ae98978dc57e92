"""A trial: one call of a tool's current version, without charge, bypassing the queue and the circuit breaker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from common import tools
from common.kit import crypto, jsonb
from common.kit.clock import uuid7
from common.tools import Version
from common.tools.adapters.model import CallIds, ToolFailure, ToolRequest, ToolResult

#: Timeout of a trial: an admin is waiting.
MAX_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Trial:
    """The outcome; successful without an `error_code`. `tokens`: what a caller would have been charged."""

    output: Any = None
    tokens: int = 0
    error_code: str | None = None
    error_detail: str | None = None
    http_status: int | None = None
    latency_ms: int | None = None


def run(call: Callable[[ToolRequest], ToolResult], version: Version, value: Any, request_id: str) -> Trial:
    """Call the tool once, by `call`. Raises `ToolInputRejected`."""
    tools.validate_input(version, value)
    short = replace(version, timeout_seconds=min(version.timeout_seconds, MAX_SECONDS))
    try:
        request = ToolRequest(short, jsonb.dumps(value), CallIds(uuid7(), request_id), _secret(version))
        result = call(request)
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
        raise ToolFailure("credential_unavailable", "The tool's credential cannot be decrypted.", sent=False) from error
