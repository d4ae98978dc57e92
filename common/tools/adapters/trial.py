"""A trial: one call of a tool's current version, without charge, bypassing the queue and the circuit breaker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypedDict

from common import tools
from common.errors import FieldError, Invalid
from common.kit import crypto, jsonb
from common.kit.clock import uuid7
from common.tools import Version
from common.tools.adapters.model import CallIds, ToolFailure, ToolRequest, ToolResult

#: Timeout of a trial: an admin is waiting.
MAX_SECONDS = 60


class TrialIn(TypedDict, total=False):
    """What an admin gives: the input, which may be null, or nothing."""

    input: object


@dataclass(frozen=True, slots=True)
class TrialError:
    """Why it failed, with the code that an invocation would have."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Trial:
    """The outcome; successful without an `error`. `version`: of the tool; `tokens`: what a caller would be charged."""

    version: int
    output: object = None
    tokens: int = 0
    error: TrialError | None = None
    http_status: int | None = None
    latency_ms: int | None = None

    @property
    def status(self) -> str:
        return "failed" if self.error else "succeeded"


def input_of(version: Version, given: TrialIn) -> object:
    """The `input` that was given, or else the example. Raises `Invalid` if there is neither."""
    if "input" not in given and version.example_input is None:
        raise Invalid(errors=[FieldError("/input", "Required, because the tool has no example_input.")])
    return given.get("input", version.example_input)


def run(call: Callable[[ToolRequest], ToolResult], version: Version, value: object, request_id: str) -> Trial:
    """Call the tool once, by `call`. Raises `ToolInputRejected`."""
    tools.validate_input(version, value)
    short = replace(version, timeout_seconds=min(version.timeout_seconds, MAX_SECONDS))
    try:
        request = ToolRequest(short, jsonb.dumps(value), CallIds(uuid7(), request_id), _secret(version))
        result = call(request)
    except ToolFailure as failure:
        error = TrialError(failure.code, failure.operator_detail or failure.detail)
        return Trial(version.version, None, 0, error, failure.http_status, failure.duration_ms)
    if fault := tools.output_fault(version, result.output):
        error = TrialError("output_rejected", fault)
        return Trial(version.version, result.output, 0, error, result.http_status, result.duration_ms)
    tokens = version.price.charge(result.units, version.price.max_tokens)
    return Trial(version.version, result.output, tokens, None, result.http_status, result.duration_ms)


def _secret(version: Version) -> str | None:
    try:
        return version.secret()
    except crypto.Undecryptable as error:
        raise ToolFailure("credential_unavailable", "The tool's credential cannot be decrypted.", sent=False) from error
