"""`/admin/invocations`: the invocations of all accounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired
from uuid import UUID

import marshmallow as ma

from common import invocations
from common.invocations import Invocation
from common.kit.paging import Page
from web.api.blueprint import Blueprint
from web.api.invocation_filters import InvocationArguments, InvocationQuery, chosen
from web.api.invocation_schemas import ListedInvocationSchema
from web.http import auth, large_reads
from web.http.fields import Id, Text
from web.http.responses import Shown

blp = Blueprint(
    "admin_invocations", __name__, url_prefix="/admin/invocations", description="Invocations of all accounts"
)


class AdminInvocationSchema(ListedInvocationSchema):
    user_id = Id(required=True)
    operator_detail = Text(
        required=True,
        allow_none=True,
        metadata={"description": "The error of the last attempt in full, if `error.detail` is shortened."},
    )


class AdminInvocationQuery(InvocationQuery):
    user = Id(metadata={"description": "The id of an account."})

    @ma.validates_schema
    def of_an_account(self, data: Mapping[str, object], **_: object) -> None:
        """Keys and labels are an account's own words: they mean nothing across accounts."""
        for name in ("idempotency_key", "metadata", "end_user"):
            if name in data and "user" not in data:
                raise ma.ValidationError("Allowed only together with `user`.", name)


class AdminInvocationArguments(InvocationArguments):
    """What `AdminInvocationQuery` loads."""

    user: NotRequired[UUID]


@blp.get("")
@auth.admin
@blp.arguments(AdminInvocationQuery, location="query")
@blp.page(AdminInvocationSchema)
def index(query: AdminInvocationArguments) -> Page[Shown]:
    """Invocations of all accounts, newest first

    Pages and payloads are limited as in `GET /invocations`.
    """
    found = invocations.listing(query.get("user"), query["window"], payloads=query["payloads"], **chosen(query))
    details = invocations.operator_details([invocation.id for invocation in found.items])
    return found.map(lambda invocation: _shown(invocation, details.get(invocation.id)))


@blp.get("/<uuid:invocation_id>")
@auth.admin
@blp.response(200, AdminInvocationSchema)
def show(invocation_id: UUID) -> Shown:
    """One invocation of any account, with input and output"""
    large_reads.begin()
    found = invocations.get(invocation_id, None)
    return _shown(found, invocations.operator_details([invocation_id]).get(invocation_id))


def _shown(invocation: Invocation, detail: str | None) -> Shown:
    return {**invocations.represent(invocation), "user_id": str(invocation.user_id), "operator_detail": detail}
