"""`RateLimit-Policy` and `RateLimit` on every authenticated response (IETF draft-ietf-httpapi-ratelimit-headers).

Code that checks a limit calls `show(RateLimit(…))`; the headers are rendered after the view. This module also enforces
the face's quota (`web/http/quotas.py`) on all requests that are not marked `@limits.submits`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import Response, current_app, g, request

from common import errors
from common.kit import clock
from web.http import faces
from web.http.quotas import RateLimit

View = TypeVar("View", bound=Callable[..., object])


def show(limit: RateLimit) -> None:
    """Report this limit in the headers of the current response."""
    g.setdefault("limits", {})[limit.name] = limit


def submits(view: View) -> View:
    """Mark a view that counts against the plan's submit rate and not as a read."""
    view.counts_submits = True  # type: ignore[attr-defined]
    return view


def count() -> None:
    """Count the current request against the quota of its face, unless it submits. Raises `errors.RateLimited`."""
    if not counts_submits():
        count_read()


def count_read() -> None:
    """Count the current request as a read, also if it might have submitted. Raises `errors.RateLimited`."""
    quota = faces.current().quota
    if quota is None or "caller" not in g:
        return
    limit, allowed = quota.take(g.caller.user_id, clock.wall())
    show(limit)
    if not allowed:
        raise errors.RateLimited(retry_after=limit.reset)


def render(response: Response) -> None:
    """Write the headers of an authenticated response, including errors that occurred before anything was counted.

    For a submit that the plan's rate did not count (refused, replayed, unlimited) they show the quota, uncounted.
    """
    quota = faces.current().quota
    if quota is not None and "caller" in g and "limits" not in g:
        account, now = g.caller.user_id, clock.wall()
        show(quota.state(account, now) if counts_submits() else quota.take(account, now)[0])
    limits: dict[str, RateLimit] = g.get("limits", {})
    if limits:
        response.headers.update(headers(*limits.values()))


def headers(*limits: RateLimit) -> dict[str, str]:
    """The two headers that show these limits."""
    policies = (f'"{limit.name}";q={limit.quota};w={limit.window}' for limit in limits)
    states = (f'"{limit.name}";r={limit.remaining};t={limit.reset}' for limit in limits)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}


def counts_submits() -> bool:
    """Whether the current request is for a view that submits."""
    return getattr(current_app.view_functions.get(request.endpoint or ""), "counts_submits", False)
