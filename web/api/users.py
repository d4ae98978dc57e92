"""`/users/me`: the caller's profile and API keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TypedDict
from uuid import UUID

import marshmallow as ma

from common import budgets, errors, tools
from common.budgets import ListedKey
from common.identity import accounts, keys
from common.identity.idempotency import Once
from common.kit.expecting import Expect
from common.kit.paging import Page
from common.models.accounts import SCOPES, ApiKey, User
from common.operations import account_deletion
from web.api.auth import NewPassword, UserSchema
from web.api.blueprint import Blueprint
from web.api.key_schemas import (
    AllowanceSchema,
    ApiKeyIn,
    ApiKeyInSchema,
    ApiKeySchema,
    ApiKeyWithTextSchema,
    limits_of,
    named,
)
from web.http import auth
from web.http.fields import Id, Instant, Many, Secret, Text, Whole, Word
from web.http.pagination import ListArguments, ListQuery
from web.http.responses import Headers, Shown, location
from web.http.schemas import Body, Resource

blp = Blueprint("users", __name__, url_prefix="/users/me", description="The caller's profile and API keys")


# -- profile -------------------------------------------------------------------------------------------------


class ProfileChangesSchema(Body):
    name = Text(max=200, line=True, nfc=True)
    password = NewPassword(description="Requires `current_password`. All sessions end.")
    current_password = Secret(metadata={"description": "Allowed only together with `password`."})

    @ma.validates_schema
    def both_or_neither(self, data: Mapping[str, object], **_: object) -> None:
        for given, missing in (("password", "current_password"), ("current_password", "password")):
            if given in data and missing not in data:
                raise ma.ValidationError(f"Required together with {given}.", missing)


class ProfileChanges(TypedDict, total=False):
    """What `ProfileChangesSchema` loads."""

    name: str
    password: str
    current_password: str


class CredentialSchema(Resource):
    kind = Word("session", "api_key", required=True)
    key_id = Id(required=True, allow_none=True, metadata={"description": "Null: a session."})
    scopes = Many(Word(*SCOPES), required=True)
    expires_at = Instant(
        required=True,
        allow_none=True,
        metadata={
            "description": "When this session, or this secret of the key, ends by itself; a session also ends after "
            "14 days without a refresh. Null: never."
        },
    )
    allowance = ma.fields.Nested(
        AllowanceSchema,
        required=True,
        allow_none=True,
        metadata={"description": "What a key may use of the account's tokens. Null: as much as there is."},
    )


class ProfileSchema(UserSchema):
    credential = ma.fields.Nested(
        CredentialSchema, required=True, metadata={"description": "What this request was made with."}
    )


@blp.get("")
@auth.signed_in
@blp.response(200, ProfileSchema)
@blp.tagged(UserSchema)
def show() -> Shown:
    """The caller's account, and the credential that was presented

    The `ETag` is of the account, whatever the credential.
    """
    caller = auth.caller()
    user = accounts.get(caller.user_id)
    return {**{name: getattr(user, name) for name in UserSchema().fields}, "credential": budgets.credential(caller)}


@blp.patch("")
@auth.session_only
@blp.arguments(ProfileChangesSchema)
@blp.response(200, UserSchema)
@blp.raises(errors.WeakPassword, errors.TooManyAttempts, errors.Conflict)
@blp.tagged(UserSchema)
def edit(body: ProfileChanges, expect: Expect[User]) -> User:
    """Change the name or the password

    A new password ends all sessions, including the current one. A wrong `current_password` is 403.
    """
    user_id = auth.caller().user_id
    name = body.get("name")
    if "password" in body:
        current, new = body["current_password"], body["password"]
        return accounts.change_password(user_id, current, new, actor=auth.actor(), name=name, expect=expect)
    return accounts.rename(user_id, name, expect=expect)


class DeletionSchema(Body):
    password = Secret(required=True, metadata={"description": "The current password."})


class Deletion(TypedDict):
    """What `DeletionSchema` loads."""

    password: str


@blp.delete("")
@auth.session_only
@blp.arguments(DeletionSchema)
@blp.response(204)
@blp.raises(errors.TooManyAttempts, errors.Conflict)
@blp.matched(UserSchema)
def delete(body: Deletion, expect: Expect[User]) -> None:
    """Delete the account

    The subscription, API keys, webhooks and sessions end immediately, and queued invocations are canceled; running ones
    are settled. Name and address are forgotten, and so are inputs and outputs; usage and grants stay, under the id. The
    address can be registered again, as a new account. The last active admin cannot be deleted (409). A wrong password
    is 403.
    """
    account_deletion.delete(auth.caller().user_id, **body, actor=auth.actor(), expect=expect)


# -- API keys ------------------------------------------------------------------------------------------------


class ApiKeyRotationSchema(Body):
    overlap_seconds = Whole(0, 86_400, load_default=1800)


class ApiKeyRotation(TypedDict):
    """What `ApiKeyRotationSchema` loads."""

    overlap_seconds: int


@blp.get("/api-keys")
@auth.session_only
@blp.arguments(ListQuery, location="query")
@blp.page(ApiKeySchema)
def list_keys(query: ListArguments) -> Page[ListedKey]:
    """The caller's API keys"""
    page = keys.owned(auth.caller().user_id, **query)
    return Page(budgets.listed(page.items), page.limit, page.has_more, page.next)


@blp.post("/api-keys")
@auth.session_only
@blp.arguments(ApiKeyInSchema)
@blp.response(201, ApiKeyWithTextSchema, headers=["Location"])
@blp.raises(errors.Conflict)
@blp.idempotent
def create_key(body: ApiKeyIn, once: Once) -> tuple[Shown, Headers]:
    """Create an API key; only this response contains it

    An `allowance`, a rate, a concurrency and a list of tools limit the key within its account, and never change. A
    submit has to fit the allowance and the account's budget; what does not is refused with 402 and `budget`: `api_key`
    or `account`. Invocations beyond `max_concurrency` are accepted and wait.
    """
    caller = auth.caller()
    tools.require_known(body.get("tools") or ())
    asked, limits = named(body), limits_of(body)
    key, text = keys.create(
        caller.user_id, **asked, limits=limits, actor=auth.actor(), family_id=caller.family_id, once=once
    )
    return _with_text(key, text), location(".revoke_key", key_id=key.id)


@blp.post("/api-keys/<uuid:key_id>/rotate")
@auth.session_only
@blp.arguments(ApiKeyRotationSchema, required=False)
@blp.response(200, ApiKeyWithTextSchema)
@blp.raises(errors.Conflict)
@blp.idempotent
def rotate_key(body: ApiKeyRotation, key_id: UUID, once: Once) -> Shown:
    """Give an API key a new secret; the old one works until the end of the overlap"""
    caller = auth.caller()
    actor, family_id = auth.actor(), caller.family_id
    return _with_text(*keys.rotate(caller.user_id, key_id, **body, actor=actor, family_id=family_id, once=once))


@blp.delete("/api-keys/<uuid:key_id>")
@auth.session_only
@blp.response(204)
def revoke_key(key_id: UUID) -> None:
    """Revoke an API key, effective with the next request"""
    keys.revoke(auth.caller().user_id, key_id, actor=auth.actor())


def _with_text(key: ApiKey, text: str) -> Shown:
    (shown,) = budgets.listed([key])
    return {**asdict(shown), "key": text}
