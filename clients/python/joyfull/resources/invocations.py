"""Invocations that were submitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from joyfull import models
from joyfull.exchange import Operation
from joyfull.paging import Page, document
from joyfull.resource import body_of, many, one, raw, request_of
from joyfull.retrying import call
from joyfull.surface import Asynchronous, Surface, Synchronous, listing, operation, submitting

if TYPE_CHECKING:
    from joyfull.job import AnyJob
    from joyfull.models.bodies import BatchItem, CancelManyIn, InvocationsFailuresQuery, InvocationsIndexQuery, RerunIn


class InvocationsSurface(Surface):
    """Invocations that were submitted."""

    @listing
    def list(self, **filters: Unpack[InvocationsIndexQuery]) -> Operation[Page[models.ListedInvocation]]:
        """One's own, newest first."""
        request = request_of(self._context, "invocations_index", query=filters)
        return many(self._context, models.ListedInvocation.of, request)

    @operation
    def get(self, invocation_id: str, *, wait: int | None = None) -> Operation[models.Invocation]:
        """One invocation; with `wait` (1-60 seconds), when it ends, or as it is then."""
        values, query = {"invocation_id": invocation_id}, {"wait": wait}
        request = request_of(self._context, "invocations_show", values, query=query, wait=wait or 0)
        return one(self._context, models.Invocation.of, request)

    @listing
    def attempts(self, invocation_id: str) -> Operation[Page[models.Attempt]]:
        """The calls to the tool."""
        request = request_of(self._context, "invocations_attempts", {"invocation_id": invocation_id})
        return many(self._context, models.Attempt.of, request)

    @operation
    def receipt(self, invocation_id: str) -> Operation[models.Receipt]:
        """What it was charged and why, signed (`receipt`, a JWS) and readable (`claims`)."""
        request = request_of(self._context, "receipts_receipt", {"invocation_id": invocation_id})
        return one(self._context, models.Receipt.of, request)

    @listing
    def deliveries(self, invocation_id: str) -> Operation[Page[models.InvocationDelivery]]:
        """The webhooks about it."""
        request = request_of(self._context, "invocations_deliveries", {"invocation_id": invocation_id})
        return many(self._context, models.InvocationDelivery.of, request)

    @listing
    def failures(self, **filters: Unpack[InvocationsFailuresQuery]) -> Operation[Page[models.FailureGroup]]:
        """Failures by tool and code."""
        request = request_of(self._context, "invocations_failures", query=filters)
        return many(self._context, models.FailureGroup.of, request)

    @operation
    def cancel(self, invocation_id: str) -> Operation[models.Invocation]:
        """Cancel one. Raises AlreadyFinished."""
        request = request_of(self._context, "invocations_cancel", {"invocation_id": invocation_id})
        return one(self._context, models.Invocation.of, request)

    @operation
    def cancel_many(self, **which: Unpack[CancelManyIn]) -> Operation[models.CancelCounts]:
        """Cancel those of `ids`, or those that a filter finds, where `confirm` is how many that are."""
        request = request_of(self._context, "invocations_cancel_many", body=body_of(which))
        return one(self._context, models.CancelCounts.of, request)

    @operation
    def rerun_price(self, invocation_id: str) -> Operation[models.RerunPrice]:
        """The most that `rerun` would hold, and whether the input is still stored."""
        request = request_of(self._context, "invocations_rerun_price", {"invocation_id": invocation_id})
        return one(self._context, models.RerunPrice.of, request)

    @submitting
    def rerun(
        self, invocation_id: str, *, idempotency_key: str | None = None, **changes: Unpack[RerunIn]
    ) -> Operation[AnyJob]:
        """Submit one again, on the tool's current version; `input`, `metadata` and `max_tokens` can be others."""
        values = {"invocation_id": invocation_id}
        request = request_of(self._context, "invocations_rerun", values, body=body_of(changes), key=idempotency_key)
        response = yield from call(self._context, request)
        replayed = response.headers.get("idempotent-replayed") == "true"
        return self._context.job(models.Invocation.of(document(response)["data"]), replayed)

    @operation
    def batch(self, items: Sequence[BatchItem]) -> Operation[tuple[models.BatchAnswer, ...]]:
        """Submit up to 100 in one request. An item without `idempotency_key` is given one."""
        keyed = [{"idempotency_key": self._context.new_key(), **item} for item in items]
        request = request_of(self._context, "invocations_batch", body={"items": keyed})
        response = yield from raw(self._context, request)
        return tuple(map(models.BatchAnswer.of, document(response)["data"]))


class Invocations(InvocationsSurface, Synchronous):
    """Invocations that were submitted, of a `Client`."""


class AsyncInvocations(InvocationsSurface, Asynchronous):
    """Invocations that were submitted, of an `AsyncClient`."""
