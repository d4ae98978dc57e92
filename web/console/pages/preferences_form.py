"""Theme, density and shortcuts: kept in the reader's browser, for everybody."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from flask import Response

from web.console import forms, preferences, session
from web.console.blueprint import Context, action, blp, redirect_to
from web.console.forms import Form
from web.console.rendering import url
from web.http import auth
from web.http.fields import Text, Word


class PreferencesForm(Form):
    theme = Word(*preferences.THEMES)
    density = Word(*preferences.DENSITIES)
    shortcuts = Word(*preferences.SHORTCUTS)
    next = Text(max=4000)


class PreferencesSent(TypedDict):
    """What `PreferencesForm` loads."""

    theme: NotRequired[str]
    density: NotRequired[str]
    shortcuts: NotRequired[str]
    next: NotRequired[str]


def nothing() -> Context:
    """For the page of a form that was refused."""
    return {"title": "Preferences"}


@blp.post("/preferences")
@auth.public
@action("refused.html", again=nothing)
def prefer() -> Response:
    """Remember the preferences that were sent."""
    sent: PreferencesSent = forms.load(PreferencesForm)
    response = redirect_to(session.safe_next(sent.get("next")) or url("overview"))
    for name in preferences.CHOICES:
        if name in sent:
            preferences.keep(response, name, str(sent[name]))  # type: ignore[literal-required]
    return response
