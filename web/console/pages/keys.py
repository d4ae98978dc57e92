"""API keys: what they may do, when they were used and what for; made, rotated and revoked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NotRequired, TypedDict
from uuid import UUID

import marshmallow as ma
from flask import Response, current_app

from common import budgets, tools, usage
from common.errors import FieldError, Invalid
from common.identity import key_directory, keys
from common.identity.key_limits import Allowance
from common.identity.keys import NewLimits
from common.kit import clock
from common.models.accounts import SCOPES, WINDOWS
from common.usage import ranges
from web.console import forms, lists, repeats, responses, session
from web.console.blueprint import Context, action, blp, go, page
from web.console.moments import Moment
from web.console.repeats import RepeatableForm
from web.http import auth
from web.http.fields import Many, Secret, Text, Tokens, Whole, Word
from web.http.pagination import ListArguments, ListQuery

#: How far back a key's use is added up, in whole UTC days.
LOOKED_BACK: Final = timedelta(days=30)
#: How long the old secret may work on, in seconds, and in words.
OVERLAPS: Final = ((0, "not at all"), (1800, "30 minutes"), (3600, "one hour"), (86_400, "24 hours"))
WINDOW_NAMES: Final = {"total": "never", "day": "every day (UTC)", "month": "every month (UTC)"}
ABOUT: Final = {
    "tools:read": "see tools and prices",
    "invocations:read": "see runs",
    "invocations:write": "run tools, cancel runs",
    "usage:read": "see usage",
    "webhooks:manage": "change webhook endpoints, read their secrets",
    "subscriptions:read": "see plan and budget",
    "keys:delegate": "create short-lived keys with part of its own access",
    "admin": "do everything an admin can",
}


def _in_future(moment: datetime) -> None:
    if moment <= clock.now():
        raise ma.ValidationError("Must be in the future.")


class KeyForm(RepeatableForm):
    name = Text(required=True, max=200, line=True, nfc=True)
    scopes = Many(Word(*SCOPES), required=True, min=1, unique=True)
    expires_at = Moment(validate=_in_future)
    allowance = Tokens(1)
    window = Word(*WINDOWS, load_default=WINDOWS[0])
    rate_limit_per_minute = Whole(1)
    max_concurrency = Whole(1)
    tools = Text(max=4000)
    current_password = Secret()


class KeySent(TypedDict):
    """What `KeyForm` loads."""

    name: str
    scopes: list[str]
    expires_at: NotRequired[datetime]
    allowance: NotRequired[int]
    window: str
    rate_limit_per_minute: NotRequired[int]
    max_concurrency: NotRequired[int]
    tools: NotRequired[str]
    current_password: NotRequired[str]
    once: NotRequired[str]


class NewKey(TypedDict):
    """What a new key may do, and until when."""

    scopes: list[str]
    expires_at: datetime | None
    limits: NewLimits


class RotationForm(RepeatableForm):
    overlap_seconds = Whole(0, 86_400, required=True)
    current_password = Secret()


class RotationSent(TypedDict):
    """What `RotationForm` loads."""

    overlap_seconds: int
    current_password: NotRequired[str]
    once: NotRequired[str]


def blank() -> Context:
    """For the form of a new key."""
    scopes = [each for each in SCOPES if each != "admin" or auth.caller().is_admin]
    options = [(each, f"{each}: {ABOUT[each]}" if each in ABOUT else each) for each in scopes]
    chosen = {"scopes": options, "chosen": keys.DEFAULT_SCOPES, "windows": list(WINDOW_NAMES.items())}
    return {**chosen, "needs_password": session.needs_password()}


def shown_once(text: str, name: str, title: str, until: datetime | None = None) -> Response:
    """The page with a key. It is the answer to the form itself, which nothing stores."""
    context = {"text": text, "name": name, "asked": title, "until": until, "hub": current_app.config["PUBLIC_URL"]}
    return responses.page("key_shown.html", context)


# -- the list ------------------------------------------------------------------------------------------------------


@blp.get("/keys", endpoint="keys")
@auth.session_only
@page("keys.html")
def index() -> Context:
    """The keys, with what each used in 30 days."""
    query: ListArguments = lists.query(ListQuery)
    owner, now = auth.caller().user_id, clock.now()
    found, overlaps = keys.owned(owner, query["window"]), key_directory.overlaps(owner)
    used = usage.tokens_by_key(owner, ranges.floor(now - LOOKED_BACK, "day")) if found.items else {}
    shown = {"page": found, "keys": budgets.listed(found.items), "pages": lists.pages(found), "now": now}
    return {**shown, "used": used, "overlaps": overlaps, "defaults": keys.DEFAULT_SCOPES}


# -- new keys and secrets ------------------------------------------------------------------------------------------


@blp.get("/keys/new")
@auth.session_only
@page("key_new.html")
def new_key() -> Context:
    """What a new key is to be called, and may do."""
    return blank()


@blp.post("/keys/new")
@auth.session_only
@action("key_new.html", again=blank)
def create_key() -> Response:
    """Create it, and show it once."""
    sent: KeySent = forms.load(KeyForm)
    session.confirm(sent.get("current_password"))
    return shown_once(*created(sent))


def created(sent: KeySent) -> tuple[str, str, str]:
    """Create the key; what is to be shown of it."""
    caller, once, name = auth.caller(), repeats.of(sent), sent["name"]
    wanted: NewKey = {"scopes": sent["scopes"], "expires_at": sent.get("expires_at"), "limits": limits_of(sent)}
    key, text = keys.create(caller.user_id, name, actor=auth.actor(), family_id=caller.family_id, once=once, **wanted)
    return text, key.name, "The new key"


def limits_of(sent: KeySent) -> NewLimits:
    """The limits that were typed. Raises `Invalid` for a tool that does not exist."""
    allowance = Allowance(sent["allowance"], sent["window"]) if "allowance" in sent else None
    slugs = list(dict.fromkeys(sent.get("tools", "").replace(",", " ").split()))
    try:
        tools.require_known(slugs)
    except Invalid as error:
        unknown = ", ".join(slugs[int(each.pointer.rpartition("/")[2])] for each in error.errors)
        raise Invalid(errors=[FieldError("/tools", f"There is no such tool: {unknown}.")]) from error
    return NewLimits(allowance, sent.get("rate_limit_per_minute"), sent.get("max_concurrency"), slugs or None)


def of_key(key_id: UUID) -> Context:
    """For the form that rotates a key."""
    now = clock.now()
    choices = [(seconds, text, now + timedelta(seconds=seconds)) for seconds, text in OVERLAPS]
    key = key_directory.one(auth.caller().user_id, key_id)
    return {"key": key, "overlaps": choices, "needs_password": session.needs_password()}


@blp.get("/keys/<uuid:key_id>/rotate")
@auth.session_only
@page("key_rotate.html")
def ask_key_rotation(key_id: UUID) -> Context:
    """How long the old secret is to work on."""
    return of_key(key_id)


@blp.post("/keys/<uuid:key_id>/rotate")
@auth.session_only
@action("key_rotate.html", again=of_key)
def rotate_key(key_id: UUID) -> Response:
    """Give it a new secret, and show it once."""
    sent: RotationSent = forms.load(RotationForm)
    session.confirm(sent.get("current_password"))
    return shown_once(*rotated(key_id, sent))


def rotated(key_id: UUID, sent: RotationSent) -> tuple[str, str, str, datetime | None]:
    """Rotate the key; what is to be shown of it, and until when older secrets work."""
    caller, once, overlap = auth.caller(), repeats.of(sent), sent["overlap_seconds"]
    made = keys.rotate(caller.user_id, key_id, overlap, actor=auth.actor(), family_id=caller.family_id, once=once)
    return made[1], made[0].name, "The new secret", key_directory.overlaps(caller.user_id).get(key_id)


# -- the end -------------------------------------------------------------------------------------------------------


def asked_revocation(key_id: UUID) -> Context:
    """What revoking a key ends."""
    return {"key": key_directory.one(auth.caller().user_id, key_id)}


@blp.get("/keys/<uuid:key_id>/revoke")
@auth.session_only
@page("key_revoke.html")
def ask_key_revocation(key_id: UUID) -> Context:
    """Ask before it ends; says when it was used last."""
    return asked_revocation(key_id)


@blp.post("/keys/<uuid:key_id>/revoke")
@auth.session_only
@action("key_revoke.html", again=asked_revocation)
def revoke_key(key_id: UUID) -> Response:
    """End it."""
    keys.revoke(auth.caller().user_id, key_id, actor=auth.actor())
    return go("keys", said="key-revoked")
