"""Submitting an invocation, and waiting for it: one function for every face. A face parses before and renders after.

It reports the plan's rate limit in the headers of the response, and what waits is limited per account, as are all
clients that wait (`web/http/waiting.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple
from uuid import UUID

from flask import current_app, g, request

from common import boot, errors, invocations
from common.identity.authorization import Caller
from common.invocations import Again, Invocation, SubmitFields, SubmitRules, Submitted
from common.kit import db, log
from web.http import auth, idempotency, limits, waiting
from web.http.quotas import RateLimit

#: Request header: a signed quote, as the field `quote` of a submit.
QUOTE = "Joyfull-Quote"
_WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})"?\s*(?:$|[,;])', re.IGNORECASE)


#: In the environment of a request: how its submit has failed after it was asked for (`web/api/lean_submits.py`).
FAILED: Final = "joyfull.failed"


class Failed(NamedTuple):
    """What became of a submit: it is told to the caller, and nothing is tried again."""

    caller: Caller
    error: Exception


def refuse_failed() -> None:
    """Raise what the submit of this request has failed with before, if there was one."""
    failed = request.environ.get(FAILED)
    if isinstance(failed, Failed):
        g.caller = failed.caller
        log.bind(user_id=str(failed.caller.user_id))
        _show_rate_of(failed.error)
        raise failed.error


class Outcome(NamedTuple):
    """An accepted invocation, as it is after waiting. `replayed`: an earlier request with the same key made it."""

    invocation: Invocation
    replayed: bool


def submit_and_wait(tool: str, sent: SubmitFields, seconds: int = 0, key: str | None = None) -> Outcome:
    """Submit for the current caller, under `key` or the request's `Idempotency-Key`, and wait up to `seconds`.

    Raises what `invocations.submit` does, `EmailNotVerified`, `InvalidHeader` and `UrlRefused`.
    """
    require_allowed()
    return outcome(submit(tool, with_quote(sent), key or idempotency.key()), seconds)


def with_quote(sent: SubmitFields) -> SubmitFields:
    """With the quote of the header, which is that of the body where both have one. Raises `InvalidHeader`."""
    quotes = {*request.headers.getlist(QUOTE), *([sent["quote"]] if "quote" in sent else [])}
    if len(quotes) > 1:
        raise errors.InvalidHeader(f"Send one quote, in the body or as {QUOTE}. No invocation was created.")
    return {**sent, "quote": quotes.pop()} if quotes else sent


def rerun_and_wait(original: UUID, changes: Mapping[str, object], seconds: int = 0) -> Outcome:
    """The same for an invocation that is submitted once more. Raises what `invocations.rerun` does too."""
    require_allowed()
    return outcome(rerun(original, changes, idempotency.key()), seconds)


def outcome(submitted: Submitted, seconds: int) -> Outcome:
    """What was submitted, after waiting up to `seconds` for its end."""
    invocation = submitted.invocation
    if invocation is None or seconds:
        invocation = awaited(submitted, auth.caller().user_id, seconds)
    return Outcome(invocation, submitted.replayed)


def awaited(submitted: Submitted, owner: UUID, seconds: int) -> Invocation:
    """The invocation after waiting up to `seconds` for its end.

    It was accepted, and an error would suggest that it was not: if PostgreSQL becomes unreachable, or a limit on reads
    is exceeded, the invocation is returned as it was stored.
    """
    try:
        return waiting.wait_for_completion(submitted.id, owner, seconds, submitted)
    except (db.Unreachable, errors.RateLimited):
        if submitted.invocation is None:  # a repeated request: the client can repeat it again
            raise
        return submitted.invocation


def require_allowed() -> None:
    """Whether the caller may submit at all. Raises `EmailNotVerified`."""
    _rules().require_allowed(auth.caller())


def _rules() -> SubmitRules:
    return SubmitRules(boot.outbound(), current_app.config["SETTINGS"].email_verification_required)


def submit(tool: str, sent: SubmitFields, key: str | None, body: Mapping[str, object] | None = None) -> Submitted:
    """Submit without waiting, and report the state of the plan's rate limit, including when it refuses.

    `body`: what a repeat is recognised by, if the request did not look like `sent`.
    """
    order = _rules().order(sent, request_id=g.request_id, key=key)
    order = order if body is None else replace(order, body=body)
    return _with_rate(lambda: invocations.submit(auth.caller(), tool, order))


def rerun(original: UUID, changes: Mapping[str, object], key: str | None) -> Submitted:
    """The same as `submit` for an invocation that is submitted once more."""
    again = Again(original, changes, g.request_id, key)
    return _with_rate(lambda: invocations.rerun(auth.caller(), again))


def _with_rate(submit_now: Callable[[], Submitted]) -> Submitted:
    try:
        submitted = submit_now()
    except errors.RateLimited as refusal:
        _show_rate_of(refusal)
        raise
    if (rate := submitted.rate) is not None:
        limits.show(rate_limit(rate.limit, rate.remaining, rate.reset))
    return submitted


def _show_rate_of(error: Exception) -> None:
    if isinstance(error, errors.RateLimited) and error.submits is not None:
        limits.show(rate_limit(error.submits, 0, error.retry_after))


def rate_limit(limit: int, remaining: int, reset: int) -> RateLimit:
    """The plan's rate of submits, as headers show it."""
    return RateLimit("submits", limit, 60, remaining, reset)


def preferred_wait() -> int | None:
    """Seconds of `Prefer: wait=N` (RFC 7240), clamped to 1-60; None if absent or invalid."""
    return wait_of(", ".join(request.headers.getlist("Prefer")))


def wait_of(prefer: str) -> int | None:
    """The same of this value of the header."""
    match = _WAIT.search(prefer)
    return None if match is None else max(1, min(waiting.MAX_WAIT, int(match[1])))
