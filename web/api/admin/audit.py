"""`/admin/audit`: the audit log."""

from __future__ import annotations

from uuid import UUID

from common.identity import audit
from common.kit.paging import Page
from common.models.audit import ACTOR_KINDS, AuditEntry
from web.api.blueprint import Blueprint
from web.api.usage_schemas import RangeArguments, RangeQuery
from web.http import auth
from web.http.fields import Id, Instant, JsonObject, Text, Word
from web.http.pagination import ListArguments, ListQuery
from web.http.schemas import Resource

blp = Blueprint("admin_audit", __name__, url_prefix="/admin/audit", description="The append-only audit log")


class AuditQuery(ListQuery, RangeQuery):
    actor = Id(metadata={"description": "The account that made the change."})
    action = Text(max=100)
    target_type = Text(max=100)
    target = Text(max=100, metadata={"description": "The id of the changed object; for a plan, its slug."})


class AuditArguments(ListArguments, RangeArguments, total=False):
    """What `AuditQuery` loads."""

    actor: UUID
    action: str
    target_type: str
    target: str


class AuditEntrySchema(Resource):
    id = Id(required=True)
    created_at = Instant(required=True, attribute="at")
    actor_kind = Word(*ACTOR_KINDS, required=True)
    actor_id = Id(required=True, allow_none=True, metadata={"description": "Null: an operator or the platform."})
    action = Text(required=True)
    target_type = Text(required=True)
    target_id = Text(required=True)
    before = JsonObject(required=True, allow_none=True, attribute="shown_before")
    after = JsonObject(required=True, allow_none=True, attribute="shown_after")
    request_id = Text(required=True, allow_none=True)
    ip = Text(required=True, allow_none=True)


@blp.get("")
@auth.admin
@blp.arguments(AuditQuery, location="query")
@blp.page(AuditEntrySchema)
def index(query: AuditArguments) -> Page[AuditEntry]:
    """All recorded changes, newest first"""
    return audit.entries(**query)
