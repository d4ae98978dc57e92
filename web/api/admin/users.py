"""`/admin/users`: finding and changing accounts, and granting tokens."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict
from uuid import UUID

from marshmallow import validate

from common import budgets, errors, subscriptions
from common.budgets import ListedKey
from common.identity import accounts, keys
from common.identity.accounts import ListedAccount
from common.identity.idempotency import Once
from common.kit.expecting import Expect
from common.kit.paging import Page
from common.models.accounts import ROLES
from common.models.base import MAX_TOKENS
from common.models.subscriptions import Grant
from web.api.auth import UserSchema
from web.api.blueprint import Blueprint
from web.api.key_schemas import ApiKeySchema
from web.http import auth
from web.http.fields import Flag, Id, Instant, Text, Tokens, Word
from web.http.pagination import ListArguments, ListQuery
from web.http.responses import Headers, Shown, location
from web.http.schemas import Body, Resource

blp = Blueprint("admin_users", __name__, url_prefix="/admin/users", description="Managing accounts")


# -- schemas -----------------------------------------------------------------------------------------------------


class AdminUserSchema(UserSchema):
    plan = Text(required=True, allow_none=True, metadata={"description": "The slug of the active subscription's plan."})
    deleted_at = Instant(
        required=True,
        allow_none=True,
        metadata={"description": "When its owner deleted it: its name and address are erased."},
    )


class UserQuery(ListQuery):
    q = Text(max=320, metadata={"description": "A literal substring of address or name."})
    role = Word(*ROLES)
    is_active = Flag()
    plan = Text(max=63, metadata={"description": "The slug of a plan."})


class UserArguments(ListArguments, total=False):
    """What `UserQuery` loads."""

    q: str
    role: str
    is_active: bool
    plan: str


class UserChangesSchema(Body):
    role = Word(*ROLES)
    is_active = Flag()


class UserChanges(TypedDict, total=False):
    """What `UserChangesSchema` loads."""

    role: str
    is_active: bool


class GrantInSchema(Body):
    tokens = Tokens(
        -MAX_TOKENS, required=True, validate=validate.NoneOf([0]), metadata={"description": "Negative: revoke tokens."}
    )
    reason = Text(required=True, max=500, nfc=True)
    expires_at = Instant(
        metadata={
            "description": "When what is left of them is taken off. They are spent before those that last longer. "
            "Default: the end of the period."
        }
    )


class _GrantIn(TypedDict):
    tokens: int
    reason: str


class GrantIn(_GrantIn, total=False):
    """What `GrantInSchema` loads."""

    expires_at: datetime


class GrantSchema(Resource):
    id = Id(required=True)
    user_id = Id(required=True)
    tokens = Tokens(-MAX_TOKENS, required=True)
    reason = Text(required=True)
    actor_id = Id(required=True, allow_none=True)
    created_at = Instant(required=True)
    expires_at = Instant(required=True, allow_none=True, metadata={"description": "Null: at the end of the period."})


# -- views -------------------------------------------------------------------------------------------------------


@blp.get("")
@auth.admin
@blp.arguments(UserQuery, location="query")
@blp.page(AdminUserSchema)
def index(query: UserArguments) -> Page[Shown]:
    """All accounts, newest first"""
    return accounts.listing(**query).map(_shown)


@blp.get("/<uuid:user_id>")
@auth.admin
@blp.response(200, AdminUserSchema)
@blp.tagged(AdminUserSchema)
def show(user_id: UUID) -> Shown:
    """One account"""
    return _shown(accounts.listed(user_id))


@blp.patch("/<uuid:user_id>")
@auth.admin
@blp.arguments(UserChangesSchema)
@blp.response(200, AdminUserSchema)
@blp.raises(errors.Conflict)
@blp.tagged(AdminUserSchema)
def edit(body: UserChanges, user_id: UUID, expect: Expect[Shown]) -> Shown:
    """Change the role or status of an account, effective with its next request

    Disabling ends its sessions; its API keys are refused. The last active admin can be neither demoted nor disabled.
    """
    accounts.administer(user_id, actor=auth.actor(), **body, expect=lambda now: expect(_shown(now)))
    return _shown(accounts.listed(user_id))


@blp.get("/<uuid:user_id>/api-keys")
@auth.admin
@blp.arguments(ListQuery, location="query")
@blp.page(ApiKeySchema)
def index_keys(query: ListArguments, user_id: UUID) -> Page[ListedKey]:
    """The API keys of an account, without revoked and delegated ones, newest first"""
    accounts.get(user_id)
    page = keys.owned(user_id, **query)
    return Page(budgets.listed(page.items), page.limit, page.has_more, page.next)


@blp.post("/<uuid:user_id>/grants")
@auth.admin
@blp.arguments(GrantInSchema)
@blp.response(201, GrantSchema, headers=["Location"])
@blp.raises(errors.Conflict)
@blp.idempotent
def grant(body: GrantIn, user_id: UUID, once: Once) -> tuple[Grant, Headers]:
    """Grant tokens in the current period, or revoke available ones

    What is left at `expires_at` is taken off then, also if that is in a later period.
    """
    accounts.get(user_id)
    added = subscriptions.grant(user_id, **body, actor=auth.actor(), once=once)
    return added, location(".show_grant", user_id=user_id, grant_id=added.id)


@blp.get("/<uuid:user_id>/grants/<uuid:grant_id>")
@auth.admin
@blp.response(200, GrantSchema)
def show_grant(user_id: UUID, grant_id: UUID) -> Grant:
    """One grant"""
    return subscriptions.granted(user_id, grant_id)


def _shown(listed: ListedAccount) -> Shown:
    names = ("id", "email", "name", "role", "is_active", "email_verified", "created_at", "deleted_at")
    return {**{name: getattr(listed.user, name) for name in names}, "plan": listed.plan}
