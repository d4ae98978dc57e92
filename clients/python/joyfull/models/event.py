"""Events, of webhooks and of the feed: a class for each kind of `data`, told apart by `type`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from joyfull import models
from joyfull.models.base import Decoders, Model, to_datetime

InvocationType = Literal[
    "invocation.queued",
    "invocation.running",
    "invocation.succeeded",
    "invocation.failed",
    "invocation.canceled",
    "invocation.expired",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event(Model):
    #: The same for every delivery of the event: use it to detect duplicates.
    id: str
    timestamp: datetime

    _decoders: ClassVar[Decoders] = {"timestamp": to_datetime}


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationEvent(_Event):
    """An invocation, as it was at that time."""

    type: InvocationType
    data: models.Invocation

    _decoders: ClassVar[Decoders] = {"timestamp": to_datetime, "data": models.Invocation.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinInvocationEvent(_Event):
    """An invocation of which only the id and status were sent: the endpoint is `thin`, or the body was too large."""

    type: InvocationType
    data: models.InvocationReference

    _decoders: ClassVar[Decoders] = {"timestamp": to_datetime, "data": models.InvocationReference.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetThresholdEvent(_Event):
    """80 % or 100 % of a period's tokens are charged."""

    type: Literal["budget.threshold"]
    data: models.BudgetThreshold

    _decoders: ClassVar[Decoders] = {"timestamp": to_datetime, "data": models.BudgetThreshold.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowanceReachedEvent(_Event):
    """The allowance of an API key did not cover a call."""

    type: Literal["api_key.allowance_reached"]
    data: models.ApiKeyAllowanceReached

    _decoders: ClassVar[Decoders] = {
        "timestamp": to_datetime,
        "data": models.ApiKeyAllowanceReached.of,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionChangedEvent(_Event):
    """The subscription was changed, canceled, resumed or has ended."""

    type: Literal["subscription.changed"]
    data: models.SubscriptionChanged

    _decoders: ClassVar[Decoders] = {"timestamp": to_datetime, "data": models.SubscriptionChanged.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDisabledEvent(_Event):
    """The platform disabled an endpoint."""

    type: Literal["webhook.disabled"]
    data: models.WebhookDisabled

    _decoders: ClassVar[Decoders] = {"timestamp": to_datetime, "data": models.WebhookDisabled.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRefusedEvent(_Event):
    """Nothing was submitted at a time of a schedule."""

    type: Literal["schedule.refused"]
    data: models.ScheduleRefused

    _decoders: ClassVar[Decoders] = {"timestamp": to_datetime, "data": models.ScheduleRefused.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTestEvent(_Event):
    """A test that was asked for."""

    type: Literal["webhook.test"]
    data: models.WebhookTest

    _decoders: ClassVar[Decoders] = {"timestamp": to_datetime, "data": models.WebhookTest.of}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEvent(_Event):
    """Of a type that this version does not know: `name` has it."""

    type: Literal["unknown"]
    name: str
    data: dict[str, Any]


Event = (
    InvocationEvent
    | ThinInvocationEvent
    | BudgetThresholdEvent
    | AllowanceReachedEvent
    | SubscriptionChangedEvent
    | WebhookDisabledEvent
    | ScheduleRefusedEvent
    | WebhookTestEvent
    | UnknownEvent
)
_KINDS: dict[str, type[Event]] = {
    "budget.threshold": BudgetThresholdEvent,
    "api_key.allowance_reached": AllowanceReachedEvent,
    "subscription.changed": SubscriptionChangedEvent,
    "webhook.disabled": WebhookDisabledEvent,
    "schedule.refused": ScheduleRefusedEvent,
    "webhook.test": WebhookTestEvent,
}


def event_of(raw: Mapping[str, Any]) -> Event:
    """The event of a JSON object."""
    kind = str(raw.get("type"))
    if kind.startswith("invocation."):
        return (InvocationEvent if "tool" in raw.get("data", {}) else ThinInvocationEvent).of(raw)
    if kind not in _KINDS:
        return UnknownEvent(
            raw=raw,
            id=raw["id"],
            timestamp=to_datetime(raw["timestamp"]),
            type="unknown",
            name=kind,
            data=raw.get("data", {}),
        )
    return _KINDS[kind].of(raw)
