"""The response to a submit."""

from __future__ import annotations

from flask import Response

from common import invocations
from common.settings import links
from web.http.responses import absolute_url, enveloped
from web.http.submissions import Outcome


def accepted(outcome: Outcome, seconds: int | None) -> Response:
    """202, or 200 if it ended within `Prefer: wait` (`seconds`) or had ended before."""
    invocation = outcome.invocation
    headers = {"Location": absolute_url(links.invocation(invocation.id)["self"])}
    if outcome.replayed:
        headers["Idempotent-Replayed"] = "true"
    if seconds is not None and invocation.ended:
        headers["Preference-Applied"] = f"wait={seconds}"
    if not invocation.ended:
        headers["Retry-After"] = "1"
    return enveloped(invocations.represent(invocation), 200 if invocation.ended else 202, headers)
