"""The stream of what happens, one for each browser."""

from __future__ import annotations

from flask import Response

from web.console import live
from web.console.blueprint import blp
from web.http import auth, streams


@blp.get("/live", endpoint="live")
@auth.needs("invocations:read")
def follow() -> Response:
    """Names of what changes, without content: `run {id} {status}`, `budget`, `bye`."""
    follower = live.followers.add(auth.caller().user_id)
    return streams.events(live.stream(follower, auth.authorization_check()), lambda: live.followers.remove(follower))


follow.produces = [streams.EVENTS]  # type: ignore[attr-defined]
