"""`/keys`: making keys with a part of what the caller may do."""

from __future__ import annotations

from typing import NotRequired, TypedDict

import marshmallow as ma

from common import budgets, errors, tools
from common.identity import delegation
from common.identity.delegation import DEFAULT_SCOPES, DELEGABLE, MAX_SECONDS, Delegation
from common.identity.idempotency import Once
from web.api.blueprint import Blueprint
from web.api.key_schemas import TOOLS, AllowanceSchema
from web.http import auth
from web.http.fields import Id, Instant, Many, Metadata, Text, Tokens, Whole, Word
from web.http.responses import Headers, Shown, location
from web.http.schemas import Body, Resource

blp = Blueprint("keys", __name__, url_prefix="/keys", description="Short-lived keys that other keys create")


class DelegationInSchema(Body):
    tokens = Tokens(1, required=True, metadata={"description": "What it may use, and no more than its maker may."})
    expires_in = Whole(
        1, MAX_SECONDS, required=True, metadata={"description": "Seconds; it ends with the key that makes it."}
    )
    tools = Many(
        Text(max=64, line=True),
        min=1,
        unique=True,
        metadata={"description": "Slugs of the tools that it sees and calls. Default: those of its maker."},
    )
    scopes = Many(
        Word(*DELEGABLE),
        min=1,
        unique=True,
        metadata={"description": f"Some of its maker's. Default: of {', '.join(DEFAULT_SCOPES)} those that it has."},
    )
    end_user = Text(
        min=1, max=128, line=True, metadata={"description": "Whom its invocations are for, whatever a submit says."}
    )
    metadata = Metadata()


class DelegationIn(TypedDict):
    """What `DelegationInSchema` loads."""

    tokens: int
    expires_in: int
    tools: NotRequired[list[str]]
    scopes: NotRequired[list[str]]
    end_user: NotRequired[str]
    metadata: NotRequired[dict[str, str]]


class DelegatedKeySchema(Resource):
    id = Id(required=True)
    key = Text(required=True, metadata={"description": "The key itself; it is not shown again."})
    prefix = Text(required=True)
    last4 = Text(required=True)
    parent_id = Id(
        required=True, allow_none=True, metadata={"description": "The key that made it. Null: a session did."}
    )
    root_id = Id(
        required=True,
        allow_none=True,
        metadata={"description": "The ordinary key at the root of the delegation. Null: a session created this key."},
    )
    scopes = Many(Word(*DELEGABLE), required=True)
    tools = Many(Text(), required=True, allow_none=True, metadata={"description": TOOLS})
    allowance = ma.fields.Nested(AllowanceSchema, required=True)
    end_user = Text(required=True, allow_none=True)
    metadata = Metadata(required=True)
    created_at = Instant(required=True)
    expires_at = Instant(required=True)


@blp.post("/delegate")
@auth.needs("keys:delegate")
@blp.arguments(DelegationInSchema)
@blp.response(201, DelegatedKeySchema, headers=["Location"])
@blp.raises(errors.Conflict)
@blp.idempotent
def delegate(body: DelegationIn, once: Once) -> tuple[Shown, Headers]:
    """Make a short-lived key with a part of what the caller may do; only this response contains it

    For an agent's run, a customer's browser, a job. What it uses counts against its own allowance, against those of all
    keys that it comes from, and against the account's budget; a submit has to fit all of them. Revoking a key revokes
    those that come from it. At most 10,000 delegated keys of an account are alive at once.
    """
    tools.require_known(body.get("tools") or ())
    key, text = delegation.delegate(auth.caller(), Delegation(**body), once=once)
    return budgets.delegated(key, text), location("users.revoke_key", key_id=key.id)
