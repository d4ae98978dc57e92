"""How a call ended, as it is stored: pure."""

from __future__ import annotations

from dataclasses import replace

from common.invocations import COST_EXCEEDED, Completion
from common.tools import Version
from common.tools.adapters import ToolFailure, ToolResult


def answered(version: Version, result: ToolResult, held: int) -> Completion:
    """A successful response: charged by the price; its output is withheld if it cost more than the caller allowed."""
    cost = version.price.cost(result.units)
    measured = Completion(
        "succeeded",
        cost=cost,
        http_status=result.http_status,
        duration_ms=result.duration_ms,
        units=result.units,
        basis=result.basis,
    )
    if not version.price.exceeds(cost, held):
        return replace(measured, output=result.output)
    detail = f"The call cost {min(cost, version.price.max_tokens)} tokens, and max_tokens was {held}."
    return replace(measured, status="failed", error_code=COST_EXCEEDED, error_detail=detail)


def failed(failure: ToolFailure) -> Completion:
    """The tool failed, or what it answered cannot be used."""
    return Completion(
        "failed",
        error_code=failure.code,
        error_detail=failure.detail,
        http_status=failure.http_status,
        duration_ms=failure.duration_ms,
        operator_detail=failure.operator_detail,
    )


def lost(detail: str) -> Completion:
    """It is unknown what became of the call."""
    return Completion("failed", error_code="worker_lost", error_detail=detail)
