"""The enumerations of the OpenAPI document by name, so that generated clients have one type for each."""

from __future__ import annotations

from collections.abc import Mapping

from common.models.accounts import ROLES, SCOPES, WINDOWS
from common.models.audit import ACTOR_KINDS
from common.models.budgets import THRESHOLDS
from common.models.invocations import BASES, ERROR_CODES, STATUSES
from common.models.sessions import SESSION_KINDS
from common.models.subscriptions import GRANT_KINDS, SUBSCRIPTION_STATUSES
from common.models.tools import ADAPTERS, AUTH_TYPES, METHODS
from common.models.usage import GRAINS, USAGE_STATUSES
from common.models.webhooks import (
    DISABLED_REASONS,
    EVENT_TYPES,
    FILTERS,
    INCLUDES,
    INVOCATION_FILTERS,
    INVOCATION_TYPES,
    PAYLOADS,
)
from web.api.openapi.components import Part

_SCHEMAS = "#/components/schemas/"
#: By name: the values by which an enumeration is found.
NAMES: Mapping[str, tuple[object, ...]] = {
    "ActorKind": ACTOR_KINDS,
    "AllowanceWindow": WINDOWS,
    "ApiKeyScope": SCOPES,
    "AutomaticDisabledReason": ("gone", "failing"),
    "BillingBasis": BASES,
    "BillingOutcome": ("pending", "charged", "free"),
    "BreakerState": ("closed", "open", "half_open"),
    "BudgetKind": ("account", "api_key"),
    "BudgetPercent": THRESHOLDS,
    "ConcernKind": ("failing", "gone", "disabled", "expires"),
    "CredentialKind": ("session", "api_key"),
    "DelegatedScope": tuple(scope for scope in SCOPES if scope != "admin"),
    "DeliveryStatus": ("pending", "delivered", "failed"),
    "DisabledReason": DISABLED_REASONS,
    "EndpointPayload": PAYLOADS,
    "EndpointStatus": ("enabled", "disabled"),
    "EventFilter": FILTERS,
    "EventInclude": INCLUDES,
    "EventType": EVENT_TYPES,
    "ExportFormat": ("csv", "ndjson"),
    "GrantKind": GRANT_KINDS,
    "InvocationErrorCode": ERROR_CODES,
    "InvocationEventFilter": INVOCATION_FILTERS,
    "InvocationEventType": INVOCATION_TYPES,
    "InvocationStatus": STATUSES,
    "PeriodStatus": ("current", "canceled", "closed"),
    "PlanChangeKind": ("begin", "raise", "lower", "undo", "resume", "nothing"),
    "ProblemActionKind": ("retry_with", "wait_until", "upgrade"),
    "SessionKind": SESSION_KINDS,
    "SubscriptionStatus": SUBSCRIPTION_STATUSES,
    "ToolAdapter": ADAPTERS,
    "ToolAuthKind": AUTH_TYPES,
    "ToolMethod": METHODS,
    "TrialStatus": ("succeeded", "failed"),
    "TrippedState": ("open", "half_open"),
    "UsageBucket": GRAINS,
    "UsageGrouping": ("tool", "status", "api_key", "api_key_root", "end_user"),
    "UsageStatus": USAGE_STATUSES,
    "UserRole": ROLES,
    "WaitingReason": ("slot", "queue", "breaker", "retry", "scheduled"),
}
_BY_VALUES = {values: name for name, values in NAMES.items()}


def name(spec: Part) -> None:
    """Make each enumeration of the document a reference to a schema of its own."""
    used: dict[str, Part] = {}
    _walk(spec, used)
    spec["components"]["schemas"].update({each: used[each] for each in sorted(used)})


def _walk(node: object, used: dict[str, Part]) -> None:
    if isinstance(node, dict):
        _replace(node, used)
        for nested in node.values():
            _walk(nested, used)
    elif isinstance(node, list):
        for nested in node:
            _walk(nested, used)


def _replace(schema: Part, used: dict[str, Part]) -> None:
    listed = schema.get("enum")
    found = _BY_VALUES.get(tuple(value for value in listed if value is not None)) if isinstance(listed, list) else None
    if listed is None or found is None:
        return
    kind = "integer" if isinstance(listed[0], int) else "string"
    used[found] = {"type": kind, "enum": [value for value in listed if value is not None]}
    del schema["enum"], schema["type"]
    if None in listed:
        schema["anyOf"] = [{"$ref": f"{_SCHEMAS}{found}"}, {"type": "null"}]
    else:
        schema["$ref"] = f"{_SCHEMAS}{found}"
