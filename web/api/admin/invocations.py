"""`/admin/invocations`: the invocations of all accounts."""

from __future__ import annotations

from typing import Any

from common import invocations
from common.invocations import Invocation
from common.kit.paging import Page
from web.api.blueprint import Blueprint
from web.api.invocation_schemas import InvocationQuery, ListedSchema
from web.http import auth
from web.http.fields import Id, Text

blp = Blueprint(
    "admin_invocations", __name__, url_prefix="/admin/invocations", description="Invocations of all accounts"
)


class AdminInvocationSchema(ListedSchema):
    user_id = Id(required=True)
    operator_detail = Text(
        required=True,
        allow_none=True,
        metadata={"description": "The error of the last attempt in full, if `error.detail` is shortened."},
    )


class AdminInvocationQuery(InvocationQuery):
    user = Id(metadata={"description": "The id of an account."})


@blp.get("")
@auth.admin
@blp.arguments(AdminInvocationQuery, location="query")
@blp.page(AdminInvocationSchema)
def index(query: dict[str, Any]) -> Page[Any]:
    """Invocations of all accounts, newest first

    Pages and payloads are limited as in `GET /invocations`.
    """
    found = invocations.listing(query.pop("user", None), statuses=query.pop("status", ()), **query)
    details = invocations.operator_details([invocation.id for invocation in found.items])
    return found.map(lambda invocation: _shown(invocation, details.get(invocation.id)))


def _shown(invocation: Invocation, detail: str | None) -> dict[str, Any]:
    return {**invocations.wire(invocation), "user_id": str(invocation.user_id), "operator_detail": detail}
