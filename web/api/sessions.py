"""`/users/me/sessions`: where the caller is logged in, and logging out elsewhere."""

from __future__ import annotations

from uuid import UUID

from common import errors
from common.identity import session_directory
from common.identity.session_directory import ListedSession
from common.kit.paging import Page
from common.models.sessions import SESSION_KINDS
from web.api.blueprint import Blueprint
from web.http import auth
from web.http.fields import Flag, Id, Instant, Text, Whole, Word
from web.http.pagination import ListArguments, ListQuery
from web.http.schemas import Resource

blp = Blueprint("sessions", __name__, url_prefix="/users/me/sessions", description="Where the caller is logged in")


class SessionSchema(Resource):
    id = Id(required=True)
    kind = Word(*SESSION_KINDS, required=True)
    created_at = Instant(required=True)
    last_seen_at = Instant(required=True, metadata={"description": "Accurate to about a minute."})
    network = Text(
        required=True,
        allow_none=True,
        metadata={"description": "Where it began: an IPv4 address, or the /64 network of an IPv6 address."},
    )
    user_agent = Text(required=True, allow_none=True, metadata={"description": "The `User-Agent` of the login."})
    current = Flag(required=True, metadata={"description": "Whether this request belongs to it."})


class RevokedSessionsSchema(Resource):
    revoked = Whole(required=True, metadata={"description": "How many sessions have ended."})


@blp.get("")
@auth.session_only
@blp.arguments(ListQuery, location="query")
@blp.page(SessionSchema)
def index(query: ListArguments) -> Page[ListedSession]:
    """The caller's sessions that have not ended"""
    return session_directory.listing(auth.caller(), **query)


@blp.delete("/<uuid:session_id>")
@auth.session_only
@blp.response(204)
def revoke(session_id: UUID) -> None:
    """End a session; its tokens are refused immediately

    Ending the current one is a logout.
    """
    session_directory.end(auth.caller().user_id, session_id, actor=auth.actor())


@blp.post("/revoke-others")
@auth.session_only
@blp.response(200, RevokedSessionsSchema)
@blp.raises(errors.TokenRevoked)
def revoke_others() -> dict[str, int]:
    """End every session but the current one

    API keys stay.
    """
    return {"revoked": session_directory.end_others(auth.caller(), actor=auth.actor())}
