"""What a view says that it takes (a TypedDict) is what the schema of its body or query loads."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import datetime
from types import NoneType, UnionType
from typing import NotRequired, get_args, get_origin, get_type_hints, is_typeddict
from uuid import UUID

import marshmallow as ma
from marshmallow import fields

from common.kit.paging import Window
from common.settings import Settings
from web.api.openapi import document
from web.app import create_app
from web.http.fields import AnyField
from web.http.pagination import ListQuery

#: By the most specific class first.
LOADED: list[tuple[type[AnyField], object]] = [
    (fields.Integer, int),
    (fields.Boolean, bool),
    (fields.UUID, UUID),
    (fields.DateTime, datetime),
    (fields.String, str),
    (fields.List, list),
    (fields.Dict, dict),
]


def views(settings: Settings) -> Iterator[tuple[str, ma.Schema, type]]:
    """Each operation with a schema that it loads, and the type of the argument it takes that in."""
    app = create_app(settings)
    named = {operation["operationId"] for _, operation in document.operations(document.of(app))}
    for view in app.view_functions.values():
        noted = getattr(view, "_apidoc", {})
        operation = noted.get("contract", {}).get("operation_id")
        if operation not in named:
            continue
        body: Callable[..., object] = inspect.unwrap(view)
        hints = get_type_hints(body, include_extras=True)
        taken = [hints[name] for name in inspect.signature(body).parameters]
        for parameter, taken_as in zip(noted.get("arguments", {}).get("parameters", []), taken, strict=False):
            yield operation, parameter["schema"], taken_as


def loads(schema: ma.Schema) -> dict[str, tuple[bool, bool, object]]:
    """Of each loaded member: whether it is always there, whether it may be null, and its type (None: not compared)."""
    members = {name: of(field) for name, field in schema.fields.items()}
    if isinstance(schema, ListQuery):
        members = {name: member for name, member in members.items() if name not in ("limit", "cursor")}
        members["window"] = (True, False, Window)
    return members


def of(field: AnyField) -> tuple[bool, bool, object]:
    always = field.required or field.load_default is not ma.missing
    loaded = next((kind for base, kind in LOADED if isinstance(field, base)), None)
    return always, bool(field.allow_none), loaded


def declared(taken: type) -> dict[str, tuple[bool, bool, object]]:
    """The same of a TypedDict."""
    members = {}
    required: frozenset[str] = taken.__required_keys__  # type: ignore[attr-defined]  # of every TypedDict
    for name, hint in get_type_hints(taken, include_extras=True).items():
        always = name in required and get_origin(hint) is not NotRequired
        kind = get_args(hint)[0] if get_origin(hint) is NotRequired else hint
        null = isinstance(kind, UnionType) and NoneType in get_args(kind)
        (kind,) = [each for each in get_args(kind) if each is not NoneType] if null else [kind]
        members[name] = (always, null, get_origin(kind) or kind)
    return members


def test_views_take_what_their_schemas_load(settings: Settings) -> None:
    compared, wrong = 0, []
    for operation, schema, taken in views(settings):
        if not is_typeddict(taken):
            assert get_origin(taken) is dict, f"{operation} takes {taken}"  # handed on as a whole
            continue
        compared += 1
        expected, found = loads(schema), declared(taken)
        wrong += [f"{operation}: {name}" for name in {*expected} ^ {*found}]
        for name in {*expected} & {*found}:
            (always, null, kind), (says_always, says_null, says_kind) = expected[name], found[name]
            same = kind is None or (null == says_null and kind is says_kind)
            if always != says_always or not same:
                wrong.append(f"{operation}: {name} loads as {expected[name]}, the view says {found[name]}")
    assert not wrong
    assert compared > 20
