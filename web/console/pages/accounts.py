"""Accounts, for admins: found, looked at, given another role, disabled, granted tokens."""

from __future__ import annotations

from typing import Final, NotRequired, TypedDict
from uuid import UUID

from flask import Response
from marshmallow import validate

from common import budgets, invocations, subscriptions
from common.errors import NotFound
from common.identity import accounts, keys
from common.kit import clock
from common.kit.paging import Window
from common.models.accounts import ROLES
from common.models.base import MAX_TOKENS
from common.subscriptions import Current
from web.console import forms, lists, repeats, session
from web.console.blueprint import Context, action, blp, go, page
from web.console.forms import Form
from web.console.repeats import RepeatableForm
from web.http import auth
from web.http.fields import Flag, Secret, Text, Tokens, Word
from web.http.pagination import ListArguments, ListQuery
from web.http.schemas import QueryArguments

#: Keys and runs that are shown of an account: the newest.
SHOWN: Final = Window(10)


class AccountQuery(ListQuery):
    q = Text(max=320)
    role = Word(*ROLES)
    is_active = Flag()
    plan = Text(max=63)


class AccountAsked(ListArguments, total=False):
    """What `AccountQuery` loads."""

    q: str
    role: str
    is_active: bool
    plan: str


class StandingForm(Form):
    role = Word(*ROLES)
    is_active = Flag()
    current_password = Secret()


class StandingSent(TypedDict):
    """What `StandingForm` loads."""

    role: NotRequired[str]
    is_active: NotRequired[bool]
    current_password: NotRequired[str]


class GrantQuery(QueryArguments):
    tokens = Tokens(-MAX_TOKENS, required=True, validate=validate.NoneOf([0]))
    reason = Text(required=True, max=500, nfc=True)


class GrantAsked(TypedDict):
    """What `GrantQuery` loads."""

    tokens: int
    reason: str


class GrantForm(RepeatableForm, GrantQuery):
    current_password = Secret()


class GrantSent(GrantAsked):
    """What `GrantForm` loads."""

    current_password: NotRequired[str]
    once: NotRequired[str]


def subscription(user_id: UUID) -> Current | None:
    """The account's subscription; None if it never had one."""
    try:
        return subscriptions.current(user_id)
    except NotFound:
        return None


def one(user_id: UUID) -> Context:
    """For the page of an account."""
    found, listed = accounts.listed(user_id), keys.owned(user_id, SHOWN)
    return {
        "user": found.user,
        "current": subscription(user_id),
        "roles": ROLES,
        "now": clock.now(),
        "is_me": user_id == auth.caller().user_id,
        "needs_password": session.needs_password(),
        "keys": budgets.listed(listed.items),
        "more_keys": listed.has_more,
        "runs": invocations.listing(user_id, SHOWN, payloads=False),
    }


@blp.get("/admin/users")
@auth.admin
@page("admin_users.html")
def admin_users() -> Context:
    """All accounts, newest first."""
    query: AccountAsked = lists.query(AccountQuery)
    found = accounts.listing(**query)
    filters = {name: value for name, value in query.items() if name != "window"}
    shown = {"page": found, "pages": lists.pages(found), "limit": query["window"].limit}
    return {**shown, "filters": filters, "roles": ROLES}


@blp.get("/admin/users/<uuid:user_id>")
@auth.admin
@page("admin_user.html")
def admin_user(user_id: UUID) -> Context:
    """One account."""
    return one(user_id)


@blp.post("/admin/users/<uuid:user_id>")
@auth.admin
@action("admin_user.html", again=one)
def change_account(user_id: UUID) -> Response:
    """Change its role, or disable or enable it."""
    sent: StandingSent = forms.load(StandingForm)
    session.confirm(sent.pop("current_password", None))
    accounts.administer(user_id, actor=auth.actor(), role=sent.get("role"), is_active=sent.get("is_active"))
    return go("admin_user", user_id=user_id, said="saved")


def weighed(user_id: UUID, asked: GrantAsked) -> Context:
    """For the page that shows what a grant would change."""
    found, current = accounts.listed(user_id), subscription(user_id)
    return {"user": found.user, "current": current, "asked": asked, "needs_password": session.needs_password()}


@blp.get("/admin/users/<uuid:user_id>/grant")
@auth.admin
@page("admin_grant.html")
def weigh_grant(user_id: UUID) -> Context:
    """What the grant would change, before it is made."""
    asked: GrantAsked = lists.query(GrantQuery)
    return weighed(user_id, asked)


def weighed_again(user_id: UUID) -> Context:
    """The same for a form that was refused."""
    typed = forms.typed()
    tokens = str(typed.get("tokens", "")).removeprefix("-")
    sign = -1 if str(typed.get("tokens", "")).startswith("-") else 1
    number = sign * int(tokens) if tokens.isascii() and tokens.isdecimal() and len(tokens) < 17 else 0
    return weighed(user_id, {"tokens": number, "reason": str(typed.get("reason", ""))})


@blp.post("/admin/users/<uuid:user_id>/grant")
@auth.admin
@action("admin_grant.html", again=weighed_again)
def make_grant(user_id: UUID) -> Response:
    """Grant tokens in the current period, or revoke available ones."""
    sent: GrantSent = forms.load(GrantForm)
    session.confirm(sent.get("current_password"))
    accounts.get(user_id)
    tokens, reason = sent["tokens"], sent["reason"]
    subscriptions.grant(user_id, tokens, reason=reason, actor=auth.actor(), once=repeats.of(sent))
    return go("admin_user", user_id=user_id, said="granted")
