"""Submitting one invocation, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from joyfull import models
from joyfull.context import Context
from joyfull.exchange import Operation
from joyfull.paging import document
from joyfull.resource import request_of
from joyfull.retrying import call

if TYPE_CHECKING:
    from joyfull.job import AnyJob

LONGEST_PREFERRED = 60


def submit(
    context: Context, tool: str, body: Mapping[str, object], *, key: str | None, wait: float
) -> Operation[AnyJob]:
    """Submit once, whatever happens on the way. `wait` is in seconds."""
    preferred = min(int(wait), LONGEST_PREFERRED)
    request = request_of(
        context,
        "tools_invoke",
        {"tool": tool},
        body=body,
        key=key,
        headers={"Prefer": f"wait={preferred}"} if preferred > 0 else None,
        wait=preferred,
    )
    response = yield from call(context, request)
    replayed = response.headers.get("idempotent-replayed") == "true"
    return context.job(models.Invocation.of(document(response)["data"]), replayed)


def order_of(input: object, options: Mapping[str, object]) -> dict[str, object]:
    """The body of a submit."""
    return {"input": input, **{name: value for name, value in options.items() if value is not None}}
