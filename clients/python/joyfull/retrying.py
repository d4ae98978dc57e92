"""Retries: when a request is sent again, and what is raised when it is not."""

from __future__ import annotations

import logging

from joyfull.context import Context
from joyfull.errors import ConnectionFailed, JoyfullError, OutcomeUnknown
from joyfull.exchange import Operation, Request, Response, send, sleep
from joyfull.problems import ApiError, error_of

logger = logging.getLogger("joyfull")
FIRST_DELAY, LONGEST_DELAY = 0.5, 8.0
_ANSWER_LOST = {502, 504}
_LATER = {408, 429, 503}


def call(
    context: Context, request: Request, *, until: float | None = None, patient: bool = False
) -> Operation[Response]:
    """Send a request until it is answered. `patient` has no limit but `until`, a reading of `context.now`.

    Raises what the last attempt ended with; OutcomeUnknown for a change that may have been made.
    """
    until = until if until is not None else context.now() + context.timeout * (context.retries + 1)
    lost, attempt = False, 0
    while True:
        outcome = yield from _attempt(request)
        if isinstance(outcome, Response) or (lost and _is_gone(request, outcome)):
            return outcome if isinstance(outcome, Response) else Response(204)
        delay = max(_backoff(context, attempt), getattr(outcome, "retry_after", None) or 0.0)
        again = _may_repeat(request, outcome) and (patient or attempt < context.retries)
        lost = lost or _may_have_arrived(outcome)
        if not again or context.now() + delay > until:
            raise _conclusion(request, outcome, lost)
        logger.info("again in %.1f s: %s", delay, outcome)
        yield from sleep(delay)
        attempt += 1


def _attempt(request: Request) -> Operation[Response | JoyfullError]:
    try:
        response = yield from send(request)
    except ConnectionFailed as error:
        return error
    logger.debug("%s %s: %d", request.method, request.path, response.status)
    accepted = 200 <= response.status < 300 or response.status == 304
    return response if accepted else error_of(response, f"{request.method} {request.path}")


def _backoff(context: Context, attempt: int) -> float:
    longest = min(FIRST_DELAY * 2.0 ** min(attempt, 9), LONGEST_DELAY)
    return float(longest * (0.5 + context.chance() / 2))


def _is_gone(request: Request, error: JoyfullError) -> bool:
    """Whether what was to be deleted is not there: the attempt whose answer was lost did it."""
    return request.method == "DELETE" and isinstance(error, ApiError) and error.status == 404


def _may_have_arrived(error: JoyfullError) -> bool:
    if isinstance(error, ConnectionFailed):
        return error.sent
    return isinstance(error, ApiError) and error.status in _ANSWER_LOST


def _may_repeat(request: Request, error: JoyfullError) -> bool:
    if isinstance(error, ConnectionFailed):
        return request.repeatable or not error.sent
    if not isinstance(error, ApiError):
        return False
    if error.status in _ANSWER_LOST or error.code == "dependency_unavailable":
        return request.repeatable  # a commit whose outcome is unknown is answered with this code too
    return error.status in _LATER and error.code != "too_many_attempts"


def is_outage(error: JoyfullError) -> bool:
    """Whether the same request may be answered later."""
    if isinstance(error, ApiError):
        return error.status in _ANSWER_LOST | _LATER and error.code != "too_many_attempts"
    return isinstance(error, ConnectionFailed)


def _conclusion(request: Request, error: JoyfullError, lost: bool) -> JoyfullError:
    """The error of the last attempt; or that nobody knows, when an earlier one may have been carried out."""
    if (
        request.method == "GET"
        or not lost
        or (isinstance(error, ApiError) and error.status not in _LATER | _ANSWER_LOST)
    ):
        return error
    if request.key is not None:
        what = f"repeat it with the idempotency key {request.key!r}: it is not carried out twice"
    else:
        what = "read the resource, or list them, to see whether it was"
    unknown = OutcomeUnknown(f"{error}. It may have been carried out; {what}.", request.key)
    unknown.__cause__ = error
    return unknown
