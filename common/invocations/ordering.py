"""From what a caller sent to an `Order`: what every face asks before `submit`, whatever the request looked like."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NotRequired, TypedDict

from common import webhooks
from common.errors import Conflict, FieldError, Invalid
from common.identity import accounts
from common.identity.authorization import Caller
from common.invocations.model import Order
from common.kit import clock
from common.kit.outbound import OutboundClient
from common.tools import Version

#: Seconds until the deadline of a run, as it is where none is given, and at most.
DEFAULT_EXPIRY: Final = 86_400
MAX_EXPIRY: Final = 604_800
#: Fields of a request that do not make it another request under the same Idempotency-Key.
_NOT_COMPARED: Final = ("tool", "idempotency_key")
#: How far ahead an invocation may be submitted that is not to start yet.
FARTHEST: Final = timedelta(days=30)


class SubmitFields(TypedDict):
    """What is sent with a submit, once its form was checked."""

    input: object
    max_tokens: NotRequired[int]
    expires_in: int
    metadata: dict[str, str]
    end_user: NotRequired[str]
    webhook_url: NotRequired[str]
    webhook_events: NotRequired[list[str]]
    not_before: NotRequired[datetime]
    version: NotRequired[int]
    priority: NotRequired[int]
    quote: NotRequired[str]
    stream: NotRequired[bool]


@dataclass(frozen=True, slots=True)
class SubmitRules:
    """What this deployment asks of every submit.

    Attributes:
        outbound: knows which addresses a `webhook_url` may lead to.
        verified_only: accounts with an unverified address may not submit.
    """

    outbound: OutboundClient
    verified_only: bool

    def require_allowed(self, caller: Caller) -> None:
        """Raises `EmailNotVerified`."""
        if self.verified_only:
            accounts.require_verified(caller)

    def order(self, sent: SubmitFields, *, request_id: str, key: str | None) -> Order:
        """The order in `sent`. Raises `UrlRefused`, and `Invalid` for a `not_before` that is too far ahead."""
        _refuse_distant(sent.get("not_before"))
        webhook_url = sent.get("webhook_url")
        if webhook_url is not None:
            webhooks.check_url(self.outbound, webhook_url, "/webhook_url")
        chosen = sent.get("webhook_events")
        return Order(
            input=sent["input"],
            body={name: _json(value) for name, value in sent.items() if name not in _NOT_COMPARED},
            request_id=request_id,
            max_tokens=sent.get("max_tokens"),
            expires_in=sent["expires_in"],
            metadata=sent["metadata"],
            webhook_url=webhook_url,
            webhook_events=tuple(chosen) if chosen else None,
            idempotency_key=key,
            end_user=sent.get("end_user"),
            not_before=sent.get("not_before"),
            version=sent.get("version"),
            priority=sent.get("priority", 0),
            quote=sent.get("quote"),
            stream=sent.get("stream", False),
        )


def _refuse_distant(not_before: datetime | None) -> None:
    if not_before is not None and not_before > clock.now() + FARTHEST:
        raise Invalid(errors=[FieldError("/not_before", f"must be at most {FARTHEST.days} days ahead")])


def _json(value: object) -> object:
    return clock.rfc3339(value) if isinstance(value, datetime) else value


def require_version(tool: Version, wanted: int | None) -> None:
    """Raises `Conflict`, with the current `version`, if the caller wants another."""
    if wanted not in (None, tool.version):
        detail = f"The current version of this tool is {tool.version}, not {wanted}. No invocation was created."
        raise Conflict(detail, version=tool.version)
