"""Subscriptions: subscribe, show, renew, cancel, and grants by admins.

A subscription has consecutive monthly periods (`months`, `periods`), each with its own tokens. A period is opened by
whatever needs it first, a request or the periodic task, under the account's lock, so that none is opened twice or
skipped. docs/decisions/periods.md has the reasons.
"""

from __future__ import annotations

from common.subscriptions import plans
from common.subscriptions.changing import cancel, end, subscribe
from common.subscriptions.checking import check
from common.subscriptions.forecast import Burndown, Forecast, burndown, forecast
from common.subscriptions.glance import Glance, Meter, glance
from common.subscriptions.grants import grant, granted
from common.subscriptions.previewing import Preview, preview
from common.subscriptions.renewal import renew, renew_due, settle_remainders
from common.subscriptions.showing import Bounds, Current, current, period_bounds, range_within
from common.subscriptions.statement import (
    BilledPeriod,
    LedgerCheck,
    PeriodBalance,
    Statement,
    listing,
    statement,
)
from common.subscriptions.terms import PeriodTerms, configure, for_submit, forget_terms, limits, remedies

__all__ = [
    "BilledPeriod",
    "Bounds",
    "Burndown",
    "Current",
    "Forecast",
    "Glance",
    "LedgerCheck",
    "Meter",
    "PeriodBalance",
    "PeriodTerms",
    "Preview",
    "Statement",
    "burndown",
    "cancel",
    "check",
    "configure",
    "current",
    "end",
    "for_submit",
    "forecast",
    "forget_terms",
    "glance",
    "grant",
    "granted",
    "limits",
    "listing",
    "period_bounds",
    "plans",
    "preview",
    "range_within",
    "remedies",
    "renew",
    "renew_due",
    "settle_remainders",
    "statement",
    "subscribe",
]
