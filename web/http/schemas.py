"""The strict base schemas and field types that every resource is made of.

A view parses, asks one verb of `common`, renders::

    blp = Blueprint("webhooks", __name__, url_prefix="/webhooks", description="Where events are sent")

    class EndpointIn(Body):                       # loads; unknown fields are refused
        url = Text(required=True, max=2048)
        description = Text(max=200, load_default="")

    class Endpoint(Resource):                     # dumps; put every public field here
        id = Id()
        url = Text()
        created_at = Instant()

    @blp.post("")
    @auth.needs("webhooks:manage")                # outermost below the route: credentials before body
    @blp.arguments(EndpointIn)                    # → a positional argument; `required=False` if the body may be empty
    @blp.response(201, Endpoint)                  # innermost but for `raises`; wraps in {"data": …}; 204: return None
    @blp.raises(errors.UrlRefused, errors.Conflict)   # documents what is special to this operation
    def create(body: dict[str, Any]) -> Any:
        endpoint = webhooks.create(auth.caller().user_id, **body)
        return endpoint, located(".show", endpoint_id=endpoint.id)

    @blp.get("/<uuid:endpoint_id>")               # `uuid`: canonical lower case, anything else is 404
    @auth.needs("webhooks:manage")
    @blp.response(200, Endpoint)
    def show(endpoint_id: UUID) -> Any: ...

Lists: see `web/http/pagination.py`. Fields are required=False by default; null is refused unless `allow_none=True`.
Query strings use the same field types under `Query`: they then read text ("5", "true").
"""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate


class Body(ma.Schema):
    """A JSON body: unknown fields are refused."""

    class Meta:
        unknown = ma.RAISE


class Query(ma.Schema):
    """Query parameters: unknown ones are refused, repeated ones too unless the field is `OneOrMore`."""

    class Meta:
        unknown = ma.RAISE

    #: Tells the fields that their values are text.
    from_text = True


class Resource(ma.Schema):
    """What an answer shows: only for dumping. Every field is always there (null, when `allow_none` says so)."""

    class Meta:
        unknown = ma.EXCLUDE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:  # noqa: ARG002
        """Document what is shown, not what was asked of the input: limits are ours to widen, words are promised."""
        field_obj.required = True
        for field in (field_obj, getattr(field_obj, "inner", None)):
            if field is not None:
                field.validators = [rule for rule in field.validators if isinstance(rule, validate.OneOf)]
                field.metadata = {name: value for name, value in field.metadata.items() if name != "pattern"}
