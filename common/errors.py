"""Every error of the platform, defined once.

Base classes group errors by kind; only `web/http/problems.py` maps kinds to HTTP statuses. Each subclass is one stable
`code` of the API, and its docstring is the default message (`detail`) that clients see.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field of a request body; `pointer` is an RFC 6901 JSON Pointer."""

    pointer: str
    detail: str


class PlatformError(Exception):
    """An error that is reported to the caller, with a stable `code`; `members` are extra fields of the problem."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, detail: str | None = None, *, errors: Sequence[FieldError] = (), **members: object) -> None:
        self.detail = detail or inspect.cleandoc(type(self).__doc__ or "")
        self.errors = tuple(errors)
        self.members = members
        super().__init__(self.detail)

    @property
    def title(self) -> str:
        """The code as a phrase: `Budget exhausted` for `budget_exhausted`."""
        return self.code.replace("_", " ").capitalize()


class Temporary(PlatformError):
    """A temporary failure; retry after `retry_after` whole seconds."""

    def __init__(self, detail: str | None = None, *, retry_after: int = 1, **members: object) -> None:
        super().__init__(detail, errors=(), **members)
        self.retry_after = max(1, retry_after)


# -- kinds ---------------------------------------------------------------------------------------------------


class Malformed(PlatformError):
    """The request is malformed."""

    code = "malformed_request"


class Unauthenticated(PlatformError):
    """Credentials are missing or not valid."""

    code = "unauthenticated"


class PaymentRequired(PlatformError):
    """The budget does not allow this."""


class Forbidden(PlatformError):
    """You do not have permission to do this."""

    code = "forbidden"


class NotFound(PlatformError):
    """Not found."""

    code = "not_found"


class Conflict(PlatformError):
    """The request conflicts with the current state of the resource. Nothing was changed."""

    code = "conflict"


class PreconditionFailed(PlatformError):
    """The resource is not in the state that If-Match names. Nothing was changed; read it again."""

    code = "precondition_failed"


class TooLarge(PlatformError):
    """The request body is too large."""

    code = "payload_too_large"


class Invalid(PlatformError):
    """The request is not valid."""

    code = "validation_failed"


class TooMany(Temporary):
    """Too many requests. Retry later."""


class Unavailable(Temporary):
    """A required service is unavailable. Nothing was done; retry later."""

    code = "dependency_unavailable"


# -- leaves, kind by kind -------------------------------------------------------------------------------------


class MalformedJson(Malformed):
    """The body is not valid JSON, encoded in UTF-8."""

    code = "malformed_json"


class BodyRequired(Malformed):
    """A JSON body is required."""

    code = "body_required"


class DuplicateKey(Malformed):
    """An object in the body has a duplicate key."""

    code = "duplicate_key"


class TooDeep(Malformed):
    """The body is nested too deeply."""

    code = "too_deep"


class InvalidCursor(Malformed):
    """The cursor is not valid for this list."""

    code = "invalid_cursor"


class InvalidHeader(Malformed):
    """A request header has an invalid value."""

    code = "invalid_header"


class InvalidLink(Malformed):
    """The link is not valid, was used already, or has expired. Request a new one."""

    code = "invalid_link"


class TokenExpired(Unauthenticated):
    """The access token has expired."""

    code = "token_expired"


class TokenRevoked(Unauthenticated):
    """The token has been revoked."""

    code = "token_revoked"


class InvalidCredentials(Unauthenticated):
    """The e-mail address or the password is wrong."""

    code = "invalid_credentials"


class BudgetExhausted(PaymentRequired):
    """The remaining token budget of this period does not cover the hold. No invocation was created."""

    code = "budget_exhausted"


class StorageExhausted(PaymentRequired):
    """The storage for input and output that the plan allows is used up. No invocation was created."""

    code = "storage_exhausted"


class ScopeMissing(Forbidden):
    """The API key does not have the required scope."""

    code = "scope_missing"


class SubscriptionRequired(Forbidden):
    """Invoking tools requires an active subscription."""

    code = "subscription_required"


class AccountDisabled(Forbidden):
    """This account is disabled."""

    code = "account_disabled"


class EmailNotVerified(Forbidden):
    """The e-mail address of this account is not verified. Follow the link in the verification mail."""

    code = "email_not_verified"


class EmailTaken(Conflict):
    """An account with this e-mail address already exists."""

    code = "email_taken"


class SlugTaken(Conflict):
    """The slug is already in use."""

    code = "slug_taken"


class AlreadyFinished(Conflict):
    """The invocation has already ended."""

    code = "already_finished"


class ToolInputRejected(Invalid):
    """The input does not match the tool's input schema. No invocation was created."""

    code = "tool_input_rejected"


class StreamingUnsupported(Invalid):
    """This tool does not stream its answers. No invocation was created; submit without `stream`."""

    code = "streaming_unsupported"


class IdempotencyKeyReused(Invalid):
    """This Idempotency-Key was used with a different request. Use a new key."""

    code = "idempotency_key_reused"


class QuoteInvalid(Invalid):
    """The quote is not valid for this request. No invocation was created; ask for a new quote."""

    code = "quote_invalid"


class QuoteExpired(Invalid):
    """The quote has expired. No invocation was created; ask for a new quote."""

    code = "quote_expired"


class UrlRefused(Invalid):
    """This URL is not allowed as a target."""

    code = "url_refused"


class WeakPassword(Invalid):
    """The password is too easy to guess."""

    code = "weak_password"


class RateLimited(TooMany):
    """The rate limit was exceeded. Retry later."""

    code = "rate_limited"

    def __init__(
        self, detail: str | None = None, *, retry_after: int = 1, submits: int | None = None, **members: object
    ) -> None:
        """`submits`: the plan's submits per minute, if that is the limit which was exceeded."""
        super().__init__(detail, retry_after=retry_after, **members)
        self.submits = submits


class TooManyAttempts(TooMany):
    """Too many attempts. Retry later."""

    code = "too_many_attempts"


class ToolUnavailable(Unavailable):
    """The tool is failing; its circuit breaker is open. Retry later."""

    code = "tool_unavailable"


class DependencyUnavailable(Unavailable):
    """A required service is unavailable. Nothing was done; retry later."""
