"""The secrets that sign webhooks: replaced, and shown on the page that answers the form."""

from __future__ import annotations

from typing import Final, NotRequired, TypedDict
from uuid import UUID

from flask import Response

from common import webhooks
from web.console import forms, rendering, repeats, responses
from web.console.blueprint import Context, action, blp, page
from web.console.rendering import url
from web.console.repeats import RepeatableForm
from web.http import auth

BOTH_SIGN: Final = (
    "A new secret is made and shown once, on the next page.",
    "For 24 hours every webhook is signed with both the new and the old secret, so that you can change your receiver "
    "without a gap. After that, only the new one is used.",
)


class OnceSent(TypedDict):
    """What a form loads that has nothing but its key."""

    once: NotRequired[str]


def shown_once(secret: str, back: str, *, default: bool = False) -> Response:
    """The page with a secret. It is the answer to the form itself, which nothing stores."""
    return responses.page("webhook_secret.html", {"secret": secret, "back": back, "is_default": default})


def asked_rotation(endpoint_id: UUID) -> Context:
    """What rotating the secret of an endpoint does."""
    webhooks.endpoint(auth.caller().user_id, endpoint_id)
    back = url("webhook", endpoint_id=endpoint_id)
    return rotating(url("rotate_webhook", endpoint_id=endpoint_id), back)


def asked_default_rotation() -> Context:
    """What rotating the default secret does."""
    return rotating(url("rotate_default_secret"), url("webhooks"))


def rotating(path: str, back: str) -> Context:
    """For the question before a secret is replaced."""
    once = [("once", rendering.new_key())]
    asked = {"asked": "Rotate the secret?", "effects": BOTH_SIGN, "fields": once, "label": "Rotate the secret"}
    return {**asked, "path": path, "back": back}


@blp.get("/webhooks/<uuid:endpoint_id>/rotate")
@auth.needs("webhooks:manage")
@page("confirm.html")
def ask_webhook_rotation(endpoint_id: UUID) -> Context:
    """Ask before its secret is replaced."""
    return asked_rotation(endpoint_id)


@blp.post("/webhooks/<uuid:endpoint_id>/rotate")
@auth.needs("webhooks:manage")
@action("confirm.html", again=asked_rotation)
def rotate_webhook(endpoint_id: UUID) -> Response:
    """Replace its secret, and show the new one once."""
    sent: OnceSent = forms.load(RepeatableForm)
    made = webhooks.rotate_secret(auth.caller().user_id, endpoint_id, once=repeats.of(sent))
    return shown_once(made.secret, url("webhook", endpoint_id=endpoint_id))


@blp.post("/webhooks/default-secret")
@auth.needs("webhooks:manage")
@action("confirm.html", again=asked_default_rotation)
def default_secret() -> Response:
    """Show the secret that signs what is sent to the URL of a single call."""
    secret = webhooks.default_secret(auth.caller().user_id).open()
    return shown_once(secret, url("webhooks"), default=True)


@blp.get("/webhooks/default-secret/rotate")
@auth.needs("webhooks:manage")
@page("confirm.html")
def ask_default_rotation() -> Context:
    """Ask before the default secret is replaced."""
    return asked_default_rotation()


@blp.post("/webhooks/default-secret/rotate")
@auth.needs("webhooks:manage")
@action("confirm.html", again=asked_default_rotation)
def rotate_default_secret() -> Response:
    """Replace the default secret, and show the new one."""
    sent: OnceSent = forms.load(RepeatableForm)
    secret = webhooks.rotate_default_secret(auth.caller().user_id, once=repeats.of(sent))
    return shown_once(secret, url("webhooks"), default=True)
