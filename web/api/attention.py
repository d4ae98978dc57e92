"""`/users/me/attention`: what of an account needs its owner soon."""

from __future__ import annotations

import marshmallow as ma

from common.operations import account_attention
from common.operations.account_attention import Attention
from web.api.blueprint import Blueprint
from web.http import auth
from web.http.fields import Id, Instant, Many, Text, Word
from web.http.schemas import Resource

blp = Blueprint(
    "attention", __name__, url_prefix="/users/me", description="What needs the attention of the account's owner soon"
)


class ConcernSchema(Resource):
    id = Id(required=True)
    name = Text(required=True, metadata={"description": "The URL of an endpoint, or the name of a key."})
    what = Word(
        *("failing", "gone", "disabled", "expires"),
        required=True,
        metadata={
            "description": "An endpoint fails, has answered 410, or was disabled as it kept failing; a key expires."
        },
    )
    at = Instant(required=True, metadata={"description": "Since when, or (of a key) when."})


class AttentionSchema(Resource):
    endpoints = Many(ma.fields.Nested(ConcernSchema), required=True)
    keys = Many(ma.fields.Nested(ConcernSchema), required=True)


@blp.get("/attention")
@auth.signed_in
@blp.response(200, AttentionSchema)
def attention() -> Attention:
    """What of the account needs its owner soon

    Webhook endpoints that do not answer (but not those that were disabled by hand), and API keys that expire within 14
    days; at most ten of each, the most urgent first.
    """
    return account_attention.attention(auth.caller().user_id)
