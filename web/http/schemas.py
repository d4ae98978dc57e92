"""The strict base schemas of every resource. Field types: `web/http/fields.py`.

A view parses, calls one function of `common` and renders::

    blp = Blueprint("webhooks", __name__, url_prefix="/webhooks", description="Webhook endpoints")

    class EndpointInSchema(Body):                 # loads; unknown fields are refused
        url = Text(required=True, max=2048)
        description = Text(max=200, load_default="")

    class EndpointIn(TypedDict):                  # what the schema loads; a test compares the two
        url: str
        description: str

    class EndpointSchema(Resource):               # dumps; lists every public field
        id = Id()
        url = Text()
        created_at = Instant()

    @blp.post("")
    @auth.needs("webhooks:manage")                # outermost below the route: credentials before body
    @blp.arguments(EndpointInSchema)              # → a positional argument; `required=False` if the body may be empty
    @blp.response(201, EndpointSchema)            # innermost but for `raises`; wraps in {"data": …}; 204: return None
    @blp.raises(errors.UrlRefused, errors.Conflict)   # documents the errors of this operation
    def create(body: EndpointIn) -> tuple[WebhookEndpoint, Headers]:
        endpoint = webhooks.create(auth.caller().user_id, **body)
        return endpoint, location(".show", endpoint_id=endpoint.id)

    @blp.get("/<uuid:endpoint_id>")               # `uuid`: canonical lower case, anything else is 404
    @auth.needs("webhooks:manage")
    @blp.response(200, EndpointSchema)
    def show(endpoint_id: UUID) -> WebhookEndpoint: ...

Lists: see `web/http/pagination.py`. Fields are `required=False` by default; null is refused unless `allow_none=True`.
Query strings use the same field types under `QueryArguments`; these then read text ("5", "true").

The OpenAPI document names a schema by its class, without the suffix `Schema`.
"""

from __future__ import annotations

from typing import ClassVar

import marshmallow as ma
from marshmallow import validate

from web.http.fields import AnyField


class Body(ma.Schema):
    """A JSON body; unknown fields are refused."""

    class Meta:
        unknown = ma.RAISE


class QueryArguments(ma.Schema):
    """Query parameters; unknown ones are refused, and repeated ones unless the field is `OneOrMore`."""

    class Meta:
        unknown = ma.RAISE

    #: Makes fields accept text.
    from_text = True


class Resource(ma.Schema):
    """A representation, for dumping only. A field is always present, but for those `at_times`; null if `allow_none`."""

    class Meta:
        unknown = ma.EXCLUDE

    #: Fields that are left out where there is nothing to say.
    at_times: ClassVar[frozenset[str]] = frozenset()

    def on_bind_field(self, field_name: str, field_obj: AnyField) -> None:
        """Document enumerations, but not the limits on input: those may be widened without breaking clients."""
        field_obj.required = field_name not in self.at_times
        parts = (getattr(field_obj, name, None) for name in ("inner", "key_field", "value_field"))
        for field in (field_obj, *parts):
            if field is not None:
                field.validators = [rule for rule in field.validators if isinstance(rule, validate.OneOf)]
                field.metadata = {name: value for name, value in field.metadata.items() if name != "pattern"}
