"""The plan, its periods and their statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from joyfull import models
from joyfull.exchange import Operation
from joyfull.paging import Page
from joyfull.resource import body_of, many, one, request_of
from joyfull.surface import Asynchronous, Surface, Synchronous, listing, operation

if TYPE_CHECKING:
    from joyfull.models.bodies import (
        CancelIn,
        StatementsCheckQuery,
        StatementsPeriodsQuery,
        StatementsShowQuery,
        SubscribeIn,
        SubscriptionsPlansQuery,
        SubscriptionsPreviewQuery,
    )


class SubscriptionSurface(Surface):
    """The plan, its periods and their statements."""

    @listing
    def plans(self, **filters: Unpack[SubscriptionsPlansQuery]) -> Operation[Page[models.Plan]]:
        """The plans that can be subscribed to; takes no credentials."""
        request = request_of(self._context, "subscriptions_plans", query=filters)
        return many(self._context, models.Plan.of, request)

    @operation
    def current(self) -> Operation[models.Subscription]:
        """The subscription, and the tokens of its period."""
        request = request_of(self._context, "subscriptions_current")
        return one(self._context, models.Subscription.of, request)

    @operation
    def preview(self, **plan: Unpack[SubscriptionsPreviewQuery]) -> Operation[models.Preview]:
        """What subscribing to a plan would do now; nothing is changed."""
        request = request_of(self._context, "subscriptions_preview", query=plan)
        return one(self._context, models.Preview.of, request)

    @operation
    def subscribe(self, **fields: Unpack[SubscribeIn]) -> Operation[models.Subscription]:
        """Subscribe; change to a higher plan at once, to a lower one at the end of the period."""
        request = request_of(self._context, "subscriptions_subscribe", body=body_of(fields))
        return one(self._context, models.Subscription.of, request)

    @operation
    def cancel(self, **fields: Unpack[CancelIn]) -> Operation[models.Subscription]:
        """End it: with the period, unless `at_period_end=False`."""
        request = request_of(self._context, "subscriptions_cancel", body=body_of(fields))
        return one(self._context, models.Subscription.of, request)

    @listing
    def periods(self, **filters: Unpack[StatementsPeriodsQuery]) -> Operation[Page[models.Period]]:
        """The periods, newest first."""
        request = request_of(self._context, "statements_periods", query=filters)
        return many(self._context, models.Period.of, request)

    @operation
    def statement(self, **filters: Unpack[StatementsShowQuery]) -> Operation[models.Statement]:
        """Grants, charges and holds of a period."""
        request = request_of(self._context, "statements_show", query=filters)
        return one(self._context, models.Statement.of, request)

    @operation
    def check_statement(self, **filters: Unpack[StatementsCheckQuery]) -> Operation[models.LedgerCheck]:
        """Have the statement recomputed from its rows; at most once a minute."""
        request = request_of(self._context, "statements_check", query=filters)
        return one(self._context, models.LedgerCheck.of, request)


class Subscription(SubscriptionSurface, Synchronous):
    """The plan, its periods and their statements, of a `Client`."""


class AsyncSubscription(SubscriptionSurface, Asynchronous):
    """The plan, its periods and their statements, of an `AsyncClient`."""
