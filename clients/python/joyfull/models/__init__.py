"""What the API answers; modules load when they are first needed. Written by generate.py: do not edit."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joyfull.models.admin import AdminInvocation as AdminInvocation
    from joyfull.models.admin import AdminPlan as AdminPlan
    from joyfull.models.admin import AdminTool as AdminTool
    from joyfull.models.admin import AdminUser as AdminUser
    from joyfull.models.admin import AdminVersion as AdminVersion
    from joyfull.models.admin import AuditEntry as AuditEntry
    from joyfull.models.admin import Breaker as Breaker
    from joyfull.models.admin import CreatedTool as CreatedTool
    from joyfull.models.admin import Difference as Difference
    from joyfull.models.admin import Finding as Finding
    from joyfull.models.admin import Grant as Grant
    from joyfull.models.admin import Import as Import
    from joyfull.models.admin import ImportedTool as ImportedTool
    from joyfull.models.admin import ImportProblem as ImportProblem
    from joyfull.models.admin import LedgerVerification as LedgerVerification
    from joyfull.models.admin import MissingPart as MissingPart
    from joyfull.models.admin import Overview as Overview
    from joyfull.models.admin import PendingDeliveries as PendingDeliveries
    from joyfull.models.admin import PlatformLatencies as PlatformLatencies
    from joyfull.models.admin import PlatformStats as PlatformStats
    from joyfull.models.admin import Queue as Queue
    from joyfull.models.admin import RunningCall as RunningCall
    from joyfull.models.admin import Sweep as Sweep
    from joyfull.models.admin import ToolAuth as ToolAuth
    from joyfull.models.admin import TopTool as TopTool
    from joyfull.models.admin import TopUser as TopUser
    from joyfull.models.admin import Trial as Trial
    from joyfull.models.admin import TrialFault as TrialFault
    from joyfull.models.admin import TrippedBreaker as TrippedBreaker
    from joyfull.models.admin import WorkerProcess as WorkerProcess
    from joyfull.models.attention import Attention as Attention
    from joyfull.models.attention import Concern as Concern
    from joyfull.models.authentication import TokenPair as TokenPair
    from joyfull.models.authentication import User as User
    from joyfull.models.delegated_keys import DelegatedKey as DelegatedKey
    from joyfull.models.event import AllowanceReachedEvent as AllowanceReachedEvent
    from joyfull.models.event import BudgetThresholdEvent as BudgetThresholdEvent
    from joyfull.models.event import Event as Event
    from joyfull.models.event import InvocationEvent as InvocationEvent
    from joyfull.models.event import ScheduleRefusedEvent as ScheduleRefusedEvent
    from joyfull.models.event import SubscriptionChangedEvent as SubscriptionChangedEvent
    from joyfull.models.event import ThinInvocationEvent as ThinInvocationEvent
    from joyfull.models.event import UnknownEvent as UnknownEvent
    from joyfull.models.event import WebhookDisabledEvent as WebhookDisabledEvent
    from joyfull.models.event import WebhookTestEvent as WebhookTestEvent
    from joyfull.models.event import event_of as event_of
    from joyfull.models.events import ApiKeyAllowanceReached as ApiKeyAllowanceReached
    from joyfull.models.events import BudgetThreshold as BudgetThreshold
    from joyfull.models.events import InvocationReference as InvocationReference
    from joyfull.models.events import ScheduleRefused as ScheduleRefused
    from joyfull.models.events import ScheduleRefusedProblem as ScheduleRefusedProblem
    from joyfull.models.events import SubscriptionChanged as SubscriptionChanged
    from joyfull.models.events import WebhookDisabled as WebhookDisabled
    from joyfull.models.events import WebhookTest as WebhookTest
    from joyfull.models.forecast import Forecast as Forecast
    from joyfull.models.forecast import Lasting as Lasting
    from joyfull.models.forecast import Pace as Pace
    from joyfull.models.invocations import Attempt as Attempt
    from joyfull.models.invocations import BatchAnswer as BatchAnswer
    from joyfull.models.invocations import CancelCounts as CancelCounts
    from joyfull.models.invocations import DeliveryAttempt as DeliveryAttempt
    from joyfull.models.invocations import FailedTool as FailedTool
    from joyfull.models.invocations import FailureGroup as FailureGroup
    from joyfull.models.invocations import InvocationDelivery as InvocationDelivery
    from joyfull.models.invocations import ListedInvocation as ListedInvocation
    from joyfull.models.invocations import Problem as Problem
    from joyfull.models.invocations import ProblemFault as ProblemFault
    from joyfull.models.invocations import RerunPrice as RerunPrice
    from joyfull.models.operations import Health as Health
    from joyfull.models.operations import Readiness as Readiness
    from joyfull.models.profile_and_api_keys import Allowance as Allowance
    from joyfull.models.profile_and_api_keys import ApiKey as ApiKey
    from joyfull.models.profile_and_api_keys import ApiKeyWithText as ApiKeyWithText
    from joyfull.models.profile_and_api_keys import Credential as Credential
    from joyfull.models.profile_and_api_keys import PageMeta as PageMeta
    from joyfull.models.profile_and_api_keys import Profile as Profile
    from joyfull.models.receipts import Receipt as Receipt
    from joyfull.models.schedules import LastFiring as LastFiring
    from joyfull.models.schedules import Schedule as Schedule
    from joyfull.models.schedules import ScheduledTool as ScheduledTool
    from joyfull.models.sessions import RevokedSessions as RevokedSessions
    from joyfull.models.sessions import Session as Session
    from joyfull.models.statements import BilledPeriod as BilledPeriod
    from joyfull.models.statements import DayCharge as DayCharge
    from joyfull.models.statements import GrantLine as GrantLine
    from joyfull.models.statements import HoldLine as HoldLine
    from joyfull.models.statements import LedgerCheck as LedgerCheck
    from joyfull.models.statements import OtherHolds as OtherHolds
    from joyfull.models.statements import Period as Period
    from joyfull.models.statements import PeriodTokens as PeriodTokens
    from joyfull.models.statements import Statement as Statement
    from joyfull.models.subscriptions import Balance as Balance
    from joyfull.models.subscriptions import Plan as Plan
    from joyfull.models.subscriptions import Preview as Preview
    from joyfull.models.subscriptions import Subscription as Subscription
    from joyfull.models.tools import Billing as Billing
    from joyfull.models.tools import Invocation as Invocation
    from joyfull.models.tools import InvocationError as InvocationError
    from joyfull.models.tools import InvocationLinks as InvocationLinks
    from joyfull.models.tools import InvokedTool as InvokedTool
    from joyfull.models.tools import Metered as Metered
    from joyfull.models.tools import PerUnit as PerUnit
    from joyfull.models.tools import Price as Price
    from joyfull.models.tools import Quote as Quote
    from joyfull.models.tools import RequestedTool as RequestedTool
    from joyfull.models.tools import Tool as Tool
    from joyfull.models.tools import ToolSummary as ToolSummary
    from joyfull.models.tools import Version as Version
    from joyfull.models.tools import Waiting as Waiting
    from joyfull.models.usage import ToolName as ToolName
    from joyfull.models.usage import UsageEntry as UsageEntry
    from joyfull.models.usage import UsageFigures as UsageFigures
    from joyfull.models.usage import UsageGroup as UsageGroup
    from joyfull.models.usage import UsagePoint as UsagePoint
    from joyfull.models.usage import UsageReport as UsageReport
    from joyfull.models.usage import UsageRest as UsageRest
    from joyfull.models.webhooks import Delivery as Delivery
    from joyfull.models.webhooks import EndpointHealth as EndpointHealth
    from joyfull.models.webhooks import Replay as Replay
    from joyfull.models.webhooks import Replayable as Replayable
    from joyfull.models.webhooks import WebhookEndpoint as WebhookEndpoint
    from joyfull.models.webhooks import WebhookEndpointWithSecret as WebhookEndpointWithSecret
    from joyfull.models.webhooks import WebhookSecret as WebhookSecret

_HOME = {
    "AdminInvocation": "admin",
    "AdminPlan": "admin",
    "AdminTool": "admin",
    "AdminUser": "admin",
    "AdminVersion": "admin",
    "AuditEntry": "admin",
    "Breaker": "admin",
    "CreatedTool": "admin",
    "Difference": "admin",
    "Finding": "admin",
    "Grant": "admin",
    "Import": "admin",
    "ImportProblem": "admin",
    "ImportedTool": "admin",
    "LedgerVerification": "admin",
    "MissingPart": "admin",
    "Overview": "admin",
    "PendingDeliveries": "admin",
    "PlatformLatencies": "admin",
    "PlatformStats": "admin",
    "Queue": "admin",
    "RunningCall": "admin",
    "Sweep": "admin",
    "ToolAuth": "admin",
    "TopTool": "admin",
    "TopUser": "admin",
    "Trial": "admin",
    "TrialFault": "admin",
    "TrippedBreaker": "admin",
    "WorkerProcess": "admin",
    "Attention": "attention",
    "Concern": "attention",
    "TokenPair": "authentication",
    "User": "authentication",
    "DelegatedKey": "delegated_keys",
    "AllowanceReachedEvent": "event",
    "BudgetThresholdEvent": "event",
    "Event": "event",
    "InvocationEvent": "event",
    "ScheduleRefusedEvent": "event",
    "SubscriptionChangedEvent": "event",
    "ThinInvocationEvent": "event",
    "UnknownEvent": "event",
    "WebhookDisabledEvent": "event",
    "WebhookTestEvent": "event",
    "event_of": "event",
    "ApiKeyAllowanceReached": "events",
    "BudgetThreshold": "events",
    "InvocationReference": "events",
    "ScheduleRefused": "events",
    "ScheduleRefusedProblem": "events",
    "SubscriptionChanged": "events",
    "WebhookDisabled": "events",
    "WebhookTest": "events",
    "Forecast": "forecast",
    "Lasting": "forecast",
    "Pace": "forecast",
    "Attempt": "invocations",
    "BatchAnswer": "invocations",
    "CancelCounts": "invocations",
    "DeliveryAttempt": "invocations",
    "FailedTool": "invocations",
    "FailureGroup": "invocations",
    "InvocationDelivery": "invocations",
    "ListedInvocation": "invocations",
    "Problem": "invocations",
    "ProblemFault": "invocations",
    "RerunPrice": "invocations",
    "Health": "operations",
    "Readiness": "operations",
    "Allowance": "profile_and_api_keys",
    "ApiKey": "profile_and_api_keys",
    "ApiKeyWithText": "profile_and_api_keys",
    "Credential": "profile_and_api_keys",
    "PageMeta": "profile_and_api_keys",
    "Profile": "profile_and_api_keys",
    "Receipt": "receipts",
    "LastFiring": "schedules",
    "Schedule": "schedules",
    "ScheduledTool": "schedules",
    "RevokedSessions": "sessions",
    "Session": "sessions",
    "BilledPeriod": "statements",
    "DayCharge": "statements",
    "GrantLine": "statements",
    "HoldLine": "statements",
    "LedgerCheck": "statements",
    "OtherHolds": "statements",
    "Period": "statements",
    "PeriodTokens": "statements",
    "Statement": "statements",
    "Balance": "subscriptions",
    "Plan": "subscriptions",
    "Preview": "subscriptions",
    "Subscription": "subscriptions",
    "Billing": "tools",
    "Invocation": "tools",
    "InvocationError": "tools",
    "InvocationLinks": "tools",
    "InvokedTool": "tools",
    "Metered": "tools",
    "PerUnit": "tools",
    "Price": "tools",
    "Quote": "tools",
    "RequestedTool": "tools",
    "Tool": "tools",
    "ToolSummary": "tools",
    "Version": "tools",
    "Waiting": "tools",
    "ToolName": "usage",
    "UsageEntry": "usage",
    "UsageFigures": "usage",
    "UsageGroup": "usage",
    "UsagePoint": "usage",
    "UsageReport": "usage",
    "UsageRest": "usage",
    "Delivery": "webhooks",
    "EndpointHealth": "webhooks",
    "Replay": "webhooks",
    "Replayable": "webhooks",
    "WebhookEndpoint": "webhooks",
    "WebhookEndpointWithSecret": "webhooks",
    "WebhookSecret": "webhooks",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found
