"""What is around every page: navigation, budget, books, the reader's preferences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flask import g, request

from common import subscriptions
from common.errors import PlatformError
from common.identity.authorization import Caller
from common.kit import db, redis
from common.subscriptions import Glance
from web.console import api_requests, notices, preferences, rendering
from web.console.preferences import Preferences


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation. `key`: follows `g` to go there. Shown once its page exists."""

    label: str
    endpoint: str
    key: str = ""


PLACES: Final = (
    Place("Overview", "overview", "o"),
    Place("Tools", "tools", "t"),
    Place("Runs", "runs", "r"),
    Place("Usage", "usage", "u"),
    Place("Statement", "statement", "s"),
    Place("Webhooks", "webhooks", "w"),
    Place("Keys", "keys", "k"),
    Place("Plan", "plan", "p"),
    Place("Settings", "settings", "e"),
)
FOR_ADMINS: Final = (
    Place("Statistics", "admin", "a"),
    Place("Accounts", "admin_users"),
    Place("All tools", "admin_tools"),
    Place("Plans", "admin_plans"),
    Place("All runs", "admin_runs"),
    Place("Audit log", "admin_audit"),
    Place("Operator", "operator"),
)


@dataclass(frozen=True, slots=True)
class PlaceLink:
    """A link of the navigation."""

    label: str
    path: str
    key: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """Around one page. `glance`: None while it cannot be read, and for those who are not signed in.

    `api_request`: the request of the API that does or shows the same.
    """

    caller: Caller | None
    glance: Glance | None
    places: list[PlaceLink]
    for_admins: list[PlaceLink]
    preferences: Preferences
    notice: str | None
    path: str
    api_request: str | None
    request_id: str


def current(*, reading: bool = True) -> Frame:
    """The frame of the current request; `reading` False: without what the database knows."""
    caller: Caller | None = g.get("caller") or g.get("reader")
    return Frame(
        caller=caller,
        glance=glance(caller) if caller is not None and reading else None,
        places=_entries(PLACES) if caller is not None else [],
        for_admins=_entries(FOR_ADMINS) if caller is not None and caller.is_admin else [],
        preferences=preferences.current(),
        notice=notices.current(),
        path=request.full_path.rstrip("?") if request.method == "GET" else "",
        api_request=api_requests.of_page(),
        request_id=g.request_id,
    )


def glance(caller: Caller) -> Glance | None:
    """The account of this request, read once; None: it cannot be read. (No page is refused for its head.)"""
    if "glance" not in g:
        try:
            g.glance = subscriptions.glance(caller.user_id)
        except (PlatformError, db.Unreachable, redis.RedisUnreachable):
            g.glance = None
    found: Glance | None = g.glance
    return found


def _entries(places: tuple[Place, ...]) -> list[PlaceLink]:
    """Those whose pages exist; current is the one with the longest path that the request's begins with."""
    paths = {place: rendering.url(place.endpoint) for place in places if rendering.exists(place.endpoint)}
    above = [path for path in paths.values() if f"{request.path}/".startswith(f"{path.rstrip('/')}/")]
    here = max(above, key=len, default=None)
    if here == rendering.url("overview") and request.path != here:
        here = None
    return [PlaceLink(place.label, path, place.key, path == here) for place, path in paths.items()]
