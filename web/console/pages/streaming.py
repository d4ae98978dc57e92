"""The stream of what happens, one for each browser."""

from __future__ import annotations

from flask import Response, request

from web.console import live
from web.console.blueprint import blp
from web.http import auth, limits, streams


@blp.get("/live", endpoint="live")
@auth.needs("invocations:read")
def follow() -> Response:
    """Names of what changes, without content: `place`, `run {id} {status}`, `budget`, `deliveries`, `reload`, `bye`.

    From where the stream ended that `Last-Event-ID` names, or `after`: a new one of the same browser has no header.
    """
    limits.count()
    named = request.headers.get("Last-Event-ID") or request.args.get("after", "")
    follower = live.followers.add(auth.caller().user_id, live.place(named))
    return streams.events(live.stream(follower, auth.authorization_check()), lambda: live.followers.remove(follower))


follow.produces = [streams.EVENTS]  # type: ignore[attr-defined]
