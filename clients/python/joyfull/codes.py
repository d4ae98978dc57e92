"""One class for each problem code of the API."""

from __future__ import annotations

from datetime import datetime

from joyfull.problems import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    PaymentRequired,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    Unprocessable,
)

__all__ = [
    "AccountDisabled", "AlreadyFinished", "BodyRequired", "BudgetExhausted", "CredentialsRequired",
    "DependencyUnavailable", "DuplicateKey", "EmailNotVerified", "EmailTaken", "HeadersTooLarge",
    "IdempotencyKeyReused", "InternalError", "InvalidCredentials", "InvalidCursor", "InvalidHeader",
    "InvalidLink", "MalformedJson", "MalformedRequest", "MethodNotAllowed", "NotAcceptable", "PayloadTooLarge",
    "PermissionRequired", "PreconditionFailed", "QuoteExpired", "QuoteInvalid", "RateLimited", "RequestTimeout",
    "ResourceNotFound", "ScopeMissing", "SlugTaken", "StateConflict", "StorageExhausted",
    "StreamingUnsupported", "SubscriptionRequired", "TokenExpired", "TokenRevoked", "TooDeep",
    "TooManyAttempts", "ToolInputRejected", "ToolUnavailable", "UnsupportedMediaType", "UriTooLong",
    "UrlRefused", "ValidationFailed", "WeakPassword",
]  # fmt: skip


class BodyRequired(BadRequest, code="body_required"):
    """A JSON body is required."""


class DuplicateKey(BadRequest, code="duplicate_key"):
    """An object in the body has a key twice."""


class InvalidCursor(BadRequest, code="invalid_cursor"):
    """The cursor is not of this list."""


class InvalidHeader(BadRequest, code="invalid_header"):
    """A header has a value that is not valid, or two credentials were sent."""


class InvalidLink(BadRequest, code="invalid_link"):
    """The token of a mailed link is wrong, used or expired."""


class MalformedJson(BadRequest, code="malformed_json"):
    """The body is not JSON."""


class MalformedRequest(BadRequest, code="malformed_request"):
    """The request is malformed."""


class TooDeep(BadRequest, code="too_deep"):
    """The body is nested too deeply."""


class InvalidCredentials(Unauthenticated, code="invalid_credentials"):
    """Wrong e-mail address or password."""


class TokenExpired(Unauthenticated, code="token_expired"):
    """The token has expired."""


class TokenRevoked(Unauthenticated, code="token_revoked"):
    """The token was revoked."""


class CredentialsRequired(Unauthenticated, code="unauthenticated"):
    """Credentials are missing or not valid."""


class BudgetExhausted(PaymentRequired, code="budget_exhausted"):
    """The budget does not cover what would be held. All amounts are in tokens."""

    @property
    def required(self) -> int:
        """What would have been held."""
        return int(self.problem["required"])

    @property
    def available(self) -> int:
        """What is left."""
        return int(self.problem["available"])

    @property
    def shortfall(self) -> int:
        """What is missing."""
        return int(self.problem["shortfall"])

    @property
    def budget(self) -> str:
        """Whose budget it is: `account` or `api_key`."""
        return str(self.problem.get("budget", "account"))

    @property
    def resets_at(self) -> datetime | None:
        """When it is granted anew; None for the allowance of a key that never is."""
        found = self.problem.get("resets_at")
        return datetime.fromisoformat(found) if found else None

    @property
    def plans(self) -> tuple[str, ...]:
        """The slugs of plans that would cover it."""
        return tuple(self.problem.get("plans", ()))


class StorageExhausted(PaymentRequired, code="storage_exhausted"):
    """The plan stores no more inputs and outputs."""


class AccountDisabled(Forbidden, code="account_disabled"):
    """The account is disabled."""


class EmailNotVerified(Forbidden, code="email_not_verified"):
    """The e-mail address has to be verified first."""


class PermissionRequired(Forbidden, code="forbidden"):
    """This takes another role, or a session."""


class ScopeMissing(Forbidden, code="scope_missing"):
    """The API key lacks a scope."""

    @property
    def scope(self) -> str:
        """The one that is missing."""
        return str(self.problem.get("scope", ""))


class SubscriptionRequired(Forbidden, code="subscription_required"):
    """The account has no active subscription."""


class ResourceNotFound(NotFound, code="not_found"):
    """Unknown, or someone else's."""


class AlreadyFinished(Conflict, code="already_finished"):
    """The invocation has ended."""


class StateConflict(Conflict, code="conflict"):
    """The resource is not in a state for this."""


class EmailTaken(Conflict, code="email_taken"):
    """There is an account with this e-mail address."""


class SlugTaken(Conflict, code="slug_taken"):
    """The slug is in use."""


class IdempotencyKeyReused(Unprocessable, code="idempotency_key_reused"):
    """The Idempotency-Key was used with another request."""


class QuoteExpired(Unprocessable, code="quote_expired"):
    """The quote has expired. Nothing was submitted: ask for a new one."""


class QuoteInvalid(Unprocessable, code="quote_invalid"):
    """The quote is not for this request. Nothing was submitted."""


class StreamingUnsupported(Unprocessable, code="streaming_unsupported"):
    """The tool does not stream."""


class ToolInputRejected(Unprocessable, code="tool_input_rejected"):
    """The input does not fit the tool's `input_schema`; `errors` say where."""


class UrlRefused(Unprocessable, code="url_refused"):
    """The platform does not call this URL."""


class ValidationFailed(Unprocessable, code="validation_failed"):
    """A part of the request is not valid; `errors` say which."""


class WeakPassword(Unprocessable, code="weak_password"):
    """The password is common, or contains the address."""


class RateLimited(TooManyRequests, code="rate_limited"):
    """More requests than the plan has."""


class TooManyAttempts(TooManyRequests, code="too_many_attempts"):
    """Too many failed attempts; never tried again by itself."""


class DependencyUnavailable(Unavailable, code="dependency_unavailable"):
    """A server that the platform needs is not there."""


class ToolUnavailable(Unavailable, code="tool_unavailable"):
    """The tool fails at the moment and is not called."""


class MethodNotAllowed(ApiError, code="method_not_allowed"):
    """405: not with this method."""


class NotAcceptable(ApiError, code="not_acceptable"):
    """406: not in this format."""


class RequestTimeout(ApiError, code="request_timeout"):
    """408: the request did not arrive in time."""


class PreconditionFailed(ApiError, code="precondition_failed"):
    """412: it was changed since it was read."""


class PayloadTooLarge(ApiError, code="payload_too_large"):
    """413: the body is too large."""


class UriTooLong(ApiError, code="uri_too_long"):
    """414: the URL is too long."""


class UnsupportedMediaType(ApiError, code="unsupported_media_type"):
    """415: the body is no JSON."""


class HeadersTooLarge(ApiError, code="headers_too_large"):
    """431: the headers are too large."""


class InternalError(ApiError, code="internal_error"):
    """500: a fault of the platform; quote the request id."""
