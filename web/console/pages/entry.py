"""Signing in and out, opening an account, and what mailed links lead to.

A GET never spends a link: scanners of mails follow it. The page has the button that does.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

from flask import Response, request

from common.identity import accounts, passwords
from web.console import forms, session
from web.console.blueprint import Context, action, blp, go, page, redirect_to
from web.console.forms import Form
from web.console.rendering import url
from web.http import auth
from web.http.fields import Secret, Text


class SignIn(Form):
    email = Text(required=True, max=320)
    password = Secret(required=True)
    next = Text(max=4000)


class SignInSent(TypedDict):
    """What `SignIn` loads."""

    email: str
    password: str
    next: NotRequired[str]


class SignUp(Form):
    name = Text(required=True, max=200, line=True, nfc=True)
    email = Text(required=True, max=320)
    password = Secret(required=True)


class SignUpSent(TypedDict):
    """What `SignUp` loads."""

    name: str
    email: str
    password: str


class AddressForm(Form):
    email = Text(required=True, max=320)


class AddressSent(TypedDict):
    """What `AddressForm` loads."""

    email: str


class NewPasswordForm(Form):
    password = Secret(required=True)


class NewPasswordSent(TypedDict):
    """What `NewPasswordForm` loads."""

    password: str


def wanted() -> Context:
    """Where to go after signing in."""
    return {"next": session.safe_next(request.args.get("next")) or ""}


def rules() -> Context:
    """How long a password has to be, to be said before it is typed."""
    return {"least": passwords.MIN_CHARS, "most": passwords.MAX_CHARS}


def nothing() -> Context:
    """For pages with a form and nothing else."""
    return {}


def of_link(token: str) -> Context:
    """For pages that mailed links lead to."""
    return {"token": token, **rules()}


# -- in and out ----------------------------------------------------------------------------------------------------


@blp.get("/sign-in")
@auth.public
@page("sign_in.html")
def sign_in() -> Context | Response:
    """Sign in, or go on if that is done."""
    if session.is_signed_in():
        return redirect_to(session.safe_next(request.args.get("next")) or url("overview"))
    return wanted()


@blp.post("/sign-in")
@auth.public
@action("sign_in.html", again=wanted)
def start_session() -> Response:
    """Sign in, and go where one wanted to."""
    sent: SignInSent = forms.load(SignIn)
    session.begin(sent["email"], sent["password"])
    return redirect_to(session.safe_next(sent.get("next")) or url("overview"))


@blp.post("/sign-out")
@auth.session_only
@action("refused.html", again=nothing)
def sign_out() -> Response:
    """End the session, here and wherever else it is used."""
    session.leave()
    return go("sign_in", said="signed-out")


@blp.get("/session")
@auth.session_only
def session_stands() -> Response:
    """For scripts: an empty answer while the session stands."""
    return Response(status=204)


@blp.get("/sign-up")
@auth.public
@page("sign_up.html")
def sign_up() -> Context:
    """Open an account."""
    return rules()


@blp.post("/sign-up")
@auth.public
@action("sign_up.html", again=rules)
def open_account() -> Response:
    """Open an account and sign in."""
    sent: SignUpSent = forms.load(SignUp)
    accounts.register(**sent, ip=auth.client_ip())
    session.begin(sent["email"], sent["password"])
    return go("overview", said="signed-up")


# -- what is mailed ------------------------------------------------------------------------------------------------


@blp.get("/reset")
@auth.public
@page("reset.html")
def reset() -> Context:
    """Ask for a link to set a new password."""
    return nothing()


@blp.post("/reset")
@auth.public
@action("reset.html", again=nothing)
def ask_reset() -> Response:
    """Mail the link; the answer is the same whether or not there is such an account."""
    sent: AddressSent = forms.load(AddressForm)
    accounts.request_reset(sent["email"], ip=auth.client_ip())
    return go("sign_in", said="reset-sent")


@blp.get("/reset/<token>")
@auth.public
@page("new_password.html")
def new_password(token: str) -> Context:
    """Type a new password."""
    return of_link(token)


@blp.post("/reset/<token>")
@auth.public
@action("new_password.html", again=of_link)
def set_password(token: str) -> Response:
    """Set it, which ends every session."""
    sent: NewPasswordSent = forms.load(NewPasswordForm)
    accounts.reset_password(token, sent["password"], actor=auth.actor())
    return go("sign_in", said="password-set")


@blp.get("/verify/<token>")
@auth.public
@page("verify.html")
def verify(token: str) -> Context:
    """The button that confirms an address."""
    return of_link(token)


@blp.post("/verify/<token>")
@auth.public
@action("verify.html", again=of_link)
def confirm_address(token: str) -> Response:
    """Confirm the address."""
    accounts.verify_email(token)
    return go("overview" if session.is_signed_in() else "sign_in", said="verified")


@blp.get("/verify")
@auth.public
@page("verify_again.html")
def verify_again() -> Context:
    """Ask for another link that confirms an address."""
    return nothing()


@blp.post("/verify")
@auth.public
@action("verify_again.html", again=nothing)
def ask_verification() -> Response:
    """Mail it; the answer is the same whether or not there is such an account."""
    sent: AddressSent = forms.load(AddressForm)
    accounts.request_verification(sent["email"], ip=auth.client_ip())
    if session.is_signed_in():
        return go("overview", said="verification-mailed")
    return go("sign_in", said="verification-sent")
