"""`/admin/tools/import`: tools from an OpenAPI document."""

from __future__ import annotations

import marshmallow as ma

from common import boot, errors
from common.identity.idempotency import Once
from common.tools import importing
from common.tools.importing import Imported, ImportFields
from web.api.admin.tool_schemas import ToolAuthSchema
from web.api.blueprint import Blueprint
from web.http import auth
from web.http.fields import Flag, Id, JsonObject, Text, Whole
from web.http.schemas import Resource
from web.http.tool_drafts import ImportInSchema

blp = Blueprint("tool_imports", __name__, url_prefix="/admin/tools/import", description="Tools from OpenAPI documents")


class ImportProblemSchema(Resource):
    detail = Text(required=True)
    blocking = Flag(required=True, metadata={"description": "The tool cannot be created."})


class ImportedToolSchema(Resource):
    slug = Text(required=True)
    name = Text(required=True)
    description = Text(required=True, allow_none=True)
    method = Text(required=True)
    path = Text(required=True)
    endpoint_url = Text(required=True, allow_none=True)
    headers = ma.fields.Dict(keys=ma.fields.String(), values=ma.fields.String(), required=True)
    input_schema = JsonObject(required=True, allow_none=True)
    output_schema = JsonObject(required=True, allow_none=True)
    example_input = ma.fields.Raw(required=True, allow_none=True)
    auth = ma.fields.Nested(ToolAuthSchema, required=True)
    is_importable = Flag(required=True)
    problems = ma.fields.List(ma.fields.Nested(ImportProblemSchema), required=True)


class CreatedToolSchema(Resource):
    id = Id(required=True)
    slug = Text(required=True)


class ImportSchema(Resource):
    tools = ma.fields.List(ma.fields.Nested(ImportedToolSchema), required=True)
    omitted = Whole(required=True, metadata={"description": "How many are shown without schemas; name them in `show`."})
    created = ma.fields.List(ma.fields.Nested(CreatedToolSchema), required=True)


@blp.post("")
@auth.admin
@blp.arguments(ImportInSchema)
@blp.response(200, ImportSchema)
@blp.raises(errors.SlugTaken, errors.UrlRefused)
@blp.idempotent
def create(body: ImportFields, once: Once) -> Imported:
    """Preview the operations of an OpenAPI 3.0 or 3.1 document as tools, and create those named in `create`

    Without `create` nothing is changed. Otherwise all of them are created, or none. `problems` say what of an operation
    cannot be mapped to `http_json`: cookies, headers, bodies and responses that are not JSON, references to other
    documents. Parameters of path and query are properties of the input, beside those of the body. The document may
    have 1,500 operations.
    """
    return importing.run(auth.actor(), boot.outbound(), body, once=once)
