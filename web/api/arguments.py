"""What a view declares that it takes is loaded strictly; what it does not declare is refused."""

from __future__ import annotations

from collections.abc import Callable

import marshmallow as ma
from flask import current_app, request

from common import errors
from web.http import body, validation
from web.http.fields import OneOrMore, Secret


def of_body(schema: ma.Schema, required: bool) -> Callable[[], object]:
    """Loads the body of the current request."""
    secrets = frozenset(f.data_key or name for name, f in schema.fields.items() if isinstance(f, Secret))
    return lambda: body.load(request, schema, required=required, verbatim=secrets)


def of_query(schema: ma.Schema) -> Callable[[], object]:
    """Loads the query of the current request."""
    repeatable = frozenset(f.data_key or name for name, f in schema.fields.items() if isinstance(f, OneOrMore))
    return lambda: validation.loaded(schema, body.read_query(request, repeatable), "query")


def refuse_undeclared() -> None:
    """Refuse a query or body that the view does not declare, instead of ignoring it."""
    view = current_app.view_functions[request.endpoint or ""]
    takes = getattr(view, "takes", ())
    if "query" not in takes and request.query_string:
        _refuse_unknown(body.read_query(request), "query")
    if "json" not in takes and request.method in _WITH_BODY:
        _refuse_unknown(body.read_json(request, required=False), "body")


_WITH_BODY = frozenset(["POST", "PUT", "PATCH"])


def _refuse_unknown(value: object, what: str) -> None:
    if not isinstance(value, dict):
        raise errors.Invalid(f"The {what} is not valid.", errors=[errors.FieldError("", "Invalid input type.")])
    if value:
        faults = [errors.FieldError(validation.pointer(name), "Unknown field.") for name in value]
        raise errors.Invalid(f"The {what} is not valid.", errors=faults[: validation.MAX_FAULTS])
