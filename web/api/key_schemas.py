"""API keys as they are shown, and what limits a new one may be given."""

from __future__ import annotations

from datetime import datetime
from typing import NotRequired, TypedDict

import marshmallow as ma

from common.identity.key_limits import Allowance
from common.identity.keys import NewLimits
from common.kit import clock
from common.models.accounts import SCOPES, WINDOWS
from web.http.fields import Id, Instant, Many, Text, Tokens, Whole, Word
from web.http.schemas import Body, Resource

RATE = "Submits per minute with this key, within those of the plan. Null: as many as the plan allows."
AT_ONCE = (
    "How many of its invocations run at once, within those of the plan; others wait. Null: as many as the plan allows."
)
TOOLS = "Slugs of the tools that the key sees and calls; others do not exist for it. Null: all."


class AllowanceSchema(Resource):
    tokens = Tokens(required=True)
    window = Word(
        *WINDOWS, required=True, metadata={"description": "For ever (`total`), or a day or calendar month in UTC."}
    )
    charged = Tokens(
        required=True, metadata={"description": "By what ended in the window, with this key or one delegated from it."}
    )
    held = Tokens(required=True, metadata={"description": "By what is open."})
    available = Tokens(required=True, metadata={"description": "What the account has may be less."})
    resets_at = Instant(
        required=True, allow_none=True, metadata={"description": "The end of the window. Null: it never resets."}
    )


class ApiKeySchema(Resource):
    id = Id(required=True)
    name = Text(required=True)
    prefix = Text(required=True)
    last4 = Text(required=True)
    scopes = Many(Word(*SCOPES), required=True)
    created_at = Instant(required=True)
    expires_at = Instant(required=True, allow_none=True)
    last_used_at = Instant(required=True, allow_none=True, metadata={"description": "Accurate to about a minute."})
    allowance = ma.fields.Nested(
        AllowanceSchema,
        required=True,
        allow_none=True,
        metadata={"description": "What the key may use of the account's tokens. Null: as much as there is."},
    )
    rate_limit_per_minute = Whole(1, required=True, allow_none=True, metadata={"description": RATE})
    max_concurrency = Whole(1, required=True, allow_none=True, metadata={"description": AT_ONCE})
    tools = Many(Text(), required=True, allow_none=True, metadata={"description": TOOLS})


class ApiKeyWithTextSchema(ApiKeySchema):
    key = Text(required=True, metadata={"description": "The key itself; it is not shown again."})


class AllowanceInSchema(Body):
    tokens = Tokens(1, required=True)
    window = Word(
        *WINDOWS, required=True, metadata={"description": "For ever (`total`), or a day or calendar month in UTC."}
    )


class AllowanceIn(TypedDict):
    """What `AllowanceInSchema` loads."""

    tokens: int
    window: str


def _in_future(moment: datetime) -> None:
    if moment <= clock.now():
        raise ma.ValidationError("Must be in the future.")


class ApiKeyInSchema(Body):
    name = Text(required=True, max=200, line=True, nfc=True)
    scopes = Many(
        Word(*SCOPES), min=1, unique=True, metadata={"description": "Default: all but `keys:delegate` and `admin`."}
    )
    expires_at = Instant(allow_none=True, validate=_in_future)
    allowance = ma.fields.Nested(
        AllowanceInSchema,
        allow_none=True,
        metadata={"description": "A cap on what the key may use of the account's tokens; it reserves none of them."},
    )
    rate_limit_per_minute = Whole(1, allow_none=True, metadata={"description": RATE})
    max_concurrency = Whole(1, allow_none=True, metadata={"description": AT_ONCE})
    tools = Many(Text(max=64, line=True), min=1, unique=True, allow_none=True, metadata={"description": TOOLS})


class ApiKeyIn(TypedDict):
    """What `ApiKeyInSchema` loads."""

    name: str
    scopes: NotRequired[list[str]]
    expires_at: NotRequired[datetime | None]
    allowance: NotRequired[AllowanceIn | None]
    rate_limit_per_minute: NotRequired[int | None]
    max_concurrency: NotRequired[int | None]
    tools: NotRequired[list[str] | None]


class AboutKey(TypedDict):
    """What a new key is called, may do, and when it ends."""

    name: str
    scopes: list[str] | None
    expires_at: datetime | None


def named(body: ApiKeyIn) -> AboutKey:
    """The part of a body that is no limit."""
    return {"name": body["name"], "scopes": body.get("scopes"), "expires_at": body.get("expires_at")}


def limits_of(body: ApiKeyIn) -> NewLimits:
    """The limits in a body."""
    asked = body.get("allowance")
    allowance = None if asked is None else Allowance(asked["tokens"], asked["window"])
    return NewLimits(allowance, body.get("rate_limit_per_minute"), body.get("max_concurrency"), body.get("tools"))
