"""The account: name, password, sessions, how pages look, and leaving for good."""

from __future__ import annotations

import re
from typing import Final, NotRequired, TypedDict
from uuid import UUID

from flask import Response

from common.errors import FieldError, Invalid
from common.identity import accounts, passwords, session_directory
from common.operations import account_deletion
from web.console import forms, frame, lists, preferences, session
from web.console.blueprint import Context, action, blp, go, page
from web.console.forms import Form
from web.http import auth
from web.http.fields import Secret, Text
from web.http.pagination import ListArguments, ListQuery

#: The parts of a user agent that people know, the telling ones first.
_PROGRAMS: Final = ("Edg", "OPR", "Firefox", "Chrome", "Safari", "curl", "python-requests")
_SYSTEMS: Final = ("Windows", "Android", "iPhone", "iPad", "Mac OS X", "CrOS", "Linux")
_NAMES: Final = {"Edg": "Edge", "OPR": "Opera", "Mac OS X": "macOS", "CrOS": "ChromeOS"}


class NameForm(Form):
    name = Text(required=True, max=200, line=True, nfc=True)


class NameSent(TypedDict):
    """What `NameForm` loads."""

    name: str


class PasswordForm(Form):
    current_password = Secret(required=True)
    password = Secret(required=True)


class PasswordSent(TypedDict):
    """What `PasswordForm` loads."""

    current_password: str
    password: str


class ZoneForm(Form):
    zone = Text(max=64)


class ZoneSent(TypedDict):
    """What `ZoneForm` loads."""

    zone: NotRequired[str]


class LeavingForm(Form):
    password = Secret(required=True)


class LeavingSent(TypedDict):
    """What `LeavingForm` loads."""

    password: str


# -- what the pages need -------------------------------------------------------------------------------------------


def known() -> Context:
    """The account's settings, and its sessions."""
    query: ListArguments = lists.query(ListQuery)
    found = session_directory.listing(auth.caller(), query["window"])
    return {
        "account": frame.glance(auth.caller()),
        "sessions": found.map(lambda each: (each, device(each.user_agent))).items,
        "pages": lists.pages(found),
        "zone": preferences.chosen_zone(),
        "least": passwords.MIN_CHARS,
        "most": passwords.MAX_CHARS,
    }


def known_of(session_id: UUID) -> Context:  # noqa: ARG001  (called as the view is)
    """As `known`."""
    return known()


def device(user_agent: str | None) -> str:
    """A user agent as people say it: `Firefox on Linux`; one that is not known is left as it is."""
    if user_agent is None:
        return "unknown"
    program, system = _first(_PROGRAMS, user_agent), _first(_SYSTEMS, user_agent)
    if program is None:
        return user_agent[:60]
    return f"{program} on {system}" if system else program


def _first(words: tuple[str, ...], text: str) -> str | None:
    found = next((word for word in words if re.search(rf"\b{re.escape(word)}\b", text)), None)
    return None if found is None else _NAMES.get(found, found)


def leaving() -> Context:
    """The question before an account is deleted."""
    return {}


# -- views ---------------------------------------------------------------------------------------------------------


@blp.get("/settings")
@auth.session_only
@page("settings.html")
def settings() -> Context:
    """Everything about the account itself."""
    return known()


@blp.post("/settings/name")
@auth.session_only
@action("settings.html", again=known)
def rename() -> Response:
    """Change the name."""
    sent: NameSent = forms.load(NameForm)
    accounts.rename(auth.caller().user_id, sent["name"])
    return go("settings", said="renamed")


@blp.post("/settings/password")
@auth.session_only
@action("settings.html", again=known)
def change_password() -> Response:
    """Set a new password, which ends every session, and begin one with it here."""
    sent: PasswordSent = forms.load(PasswordForm)
    old, new = sent["current_password"], sent["password"]
    account = accounts.change_password(auth.caller().user_id, old, new, actor=auth.actor())
    session.begin(account.email, new)
    return go("settings", said="password-changed")


@blp.post("/settings/zone")
@auth.session_only
@action("settings.html", again=known)
def choose_zone() -> Response:
    """Fix the time zone, or follow the browser's."""
    sent: ZoneSent = forms.load(ZoneForm)
    zone = sent.get("zone", "")
    if zone and not preferences.is_zone(zone):
        raise Invalid("The form is not valid.", errors=[FieldError("/zone", "There is no time zone of this name.")])
    response = go("settings", said="saved")
    preferences.keep(response, preferences.CHOSEN_ZONE, zone)
    return response


@blp.post("/settings/sessions/<uuid:session_id>/end")
@auth.session_only
@action("settings.html", again=known_of)
def end_session(session_id: UUID) -> Response:
    """End a session of the account."""
    session_directory.end(auth.caller().user_id, session_id, actor=auth.actor())
    return go("settings", said="session-ended")


@blp.post("/settings/sessions/end-others")
@auth.session_only
@action("settings.html", again=known)
def end_other_sessions() -> Response:
    """End every session but this one."""
    session_directory.end_others(auth.caller(), actor=auth.actor())
    return go("settings", said="others-ended")


@blp.get("/settings/delete")
@auth.session_only
@page("delete_account.html")
def delete_account() -> Context:
    """What deleting the account ends, and what stays."""
    return leaving()


@blp.post("/settings/delete")
@auth.session_only
@action("delete_account.html", again=leaving)
def leave_for_good() -> Response:
    """Delete the account."""
    sent: LeavingSent = forms.load(LeavingForm)
    account_deletion.delete(auth.caller().user_id, sent["password"], actor=auth.actor())
    session.forget()
    return go("sign_in", said="deleted")
