"""Everything that can go wrong, named once.

A kind says what sort of trouble it is (`web/http/problems.py` turns kinds into HTTP statuses, nobody else does);
a leaf is one stable `code` of the wire contract, and its docstring is the message that people read.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault in a request body: `pointer` is an RFC 6901 JSON Pointer into it."""

    pointer: str
    detail: str


class PlatformError(Exception):
    """Something that the caller is told, with a stable code; `members` are extra fields of the problem."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, detail: str | None = None, *, errors: Sequence[FieldError] = (), **members: Any) -> None:
        self.detail = detail or inspect.cleandoc(type(self).__doc__ or "")
        self.errors = tuple(errors)
        self.members = members
        super().__init__(self.detail)

    @property
    def title(self) -> str:
        """The code in words: `budget_exhausted` reads `Budget exhausted`."""
        return self.code.replace("_", " ").capitalize()


class Temporary(PlatformError):
    """Trouble that passes: `retry_after` (whole seconds) says when to come back."""

    def __init__(self, detail: str | None = None, *, retry_after: int = 1, **members: Any) -> None:
        super().__init__(detail, **members)
        self.retry_after = max(1, retry_after)


# -- kinds ---------------------------------------------------------------------------------------------------


class Malformed(PlatformError):
    """The request cannot be read."""

    code = "malformed_request"


class Unauthenticated(PlatformError):
    """Credentials are missing or cannot be read."""

    code = "unauthenticated"


class PaymentRequired(PlatformError):
    """The budget does not allow this."""


class Forbidden(PlatformError):
    """You may not do this."""

    code = "forbidden"


class NotFound(PlatformError):
    """There is nothing here by that name."""

    code = "not_found"


class Conflict(PlatformError):
    """This does not fit the present state."""

    code = "conflict"


class TooLarge(PlatformError):
    """The request body is larger than allowed."""

    code = "payload_too_large"


class Invalid(PlatformError):
    """The request is readable but wrong."""

    code = "validation_failed"


class TooMany(Temporary):
    """Too many requests; slow down."""


class Unavailable(Temporary):
    """A part that this needs is not available; nothing was done."""

    code = "dependency_unavailable"


# -- leaves: 400 ---------------------------------------------------------------------------------------------


class MalformedJson(Malformed):
    """The body is not valid JSON in UTF-8."""

    code = "malformed_json"


class BodyRequired(Malformed):
    """This request needs a JSON body."""

    code = "body_required"


class DuplicateKey(Malformed):
    """An object in the body has the same key twice."""

    code = "duplicate_key"


class TooDeep(Malformed):
    """The body is nested too deeply."""

    code = "too_deep"


class InvalidCursor(Malformed):
    """The cursor is not one that this list gave out."""

    code = "invalid_cursor"


class InvalidHeader(Malformed):
    """A header has a value that is not allowed."""

    code = "invalid_header"


class InvalidLink(Malformed):
    """This link is wrong, used or expired. Ask for a new one."""

    code = "invalid_link"


# -- leaves: 401 ---------------------------------------------------------------------------------------------


class TokenExpired(Unauthenticated):
    """The access token has expired."""

    code = "token_expired"


class TokenRevoked(Unauthenticated):
    """The token has been revoked."""

    code = "token_revoked"


class InvalidCredentials(Unauthenticated):
    """The address or the password is wrong."""

    code = "invalid_credentials"


# -- leaves: 402, 403 ----------------------------------------------------------------------------------------


class BudgetExhausted(PaymentRequired):
    """The token budget of this period does not cover the hold."""

    code = "budget_exhausted"


class StorageExhausted(PaymentRequired):
    """As much input and output is stored as the plan allows."""

    code = "storage_exhausted"


class ScopeMissing(Forbidden):
    """The API key does not have the scope that this needs."""

    code = "scope_missing"


class SubscriptionRequired(Forbidden):
    """Invoking tools needs an active subscription."""

    code = "subscription_required"


class AccountDisabled(Forbidden):
    """This account is disabled."""

    code = "account_disabled"


class EmailNotVerified(Forbidden):
    """The address of this account has not been verified."""

    code = "email_not_verified"


# -- leaves: 409 ---------------------------------------------------------------------------------------------


class EmailTaken(Conflict):
    """An account with this address exists already."""

    code = "email_taken"


class SlugTaken(Conflict):
    """That slug is in use already."""

    code = "slug_taken"


class AlreadyFinished(Conflict):
    """The invocation has ended already."""

    code = "already_finished"


# -- leaves: 422 ---------------------------------------------------------------------------------------------


class ToolInputRejected(Invalid):
    """The input does not fit the tool's schema."""

    code = "tool_input_rejected"


class IdempotencyKeyReused(Invalid):
    """This Idempotency-Key was used with another request."""

    code = "idempotency_key_reused"


class UrlRefused(Invalid):
    """This URL is not allowed as a target."""

    code = "url_refused"


class WeakPassword(Invalid):
    """The password is too easy to guess."""

    code = "weak_password"


# -- leaves: 429, 503 ----------------------------------------------------------------------------------------


class RateLimited(TooMany):
    """The rate limit is reached; retry later."""

    code = "rate_limited"

    def __init__(self, detail: str | None = None, *, submits: int | None = None, **more: Any) -> None:
        """`submits`: how many a minute the plan allows, when it is those that were too many."""
        super().__init__(detail, **more)
        self.submits = submits


class TooManyAttempts(TooMany):
    """Too many attempts; retry later."""

    code = "too_many_attempts"


class ToolUnavailable(Unavailable):
    """The tool is failing at the moment and is being left alone."""

    code = "tool_unavailable"


class DependencyUnavailable(Unavailable):
    """A part that this needs is not available; nothing was done."""
