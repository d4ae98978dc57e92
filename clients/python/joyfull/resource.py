"""What the resources are written with: a call of an operation of the document, by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from joyfull import wire
from joyfull.context import Context
from joyfull.exchange import Operation, Request, Response
from joyfull.operations import OPERATIONS
from joyfull.paging import Page, document, pages
from joyfull.retrying import call
from joyfull.wire import Json

T = TypeVar("T")
Fields = Mapping[str, object]
LONG_POLL = 10.0  # seconds that a long-poll may take longer than was asked for


def request_of(
    context: Context,
    name: str,
    values: Mapping[str, str] | None = None,
    *,
    query: Fields | None = None,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    key: str | None = None,
    wait: float = 0.0,
) -> Request:
    """The request of an operation. A POST that can have an Idempotency-Key has one."""
    where = OPERATIONS[name]
    sent = dict(headers or {})
    if body is not None:
        sent["Content-Type"] = "application/json"
    if where.keyed:
        sent["Idempotency-Key"] = key or context.new_key()
    return Request(
        where.method,
        wire.path(where.path, values or {}),
        wire.parameters(query or {}),
        tuple(sent.items()),
        None if body is None else wire.encode(body),
        max(context.timeout, wait + LONG_POLL) if wait else context.timeout,
        repeatable=where.repeatable,
        public=where.public,
    )


def body_of(fields: Fields) -> dict[str, object]:
    """A body of keyword arguments: a trailing underscore is Python's, not the API's."""
    return {name.removesuffix("_"): value for name, value in fields.items()}


def one(context: Context, item: Callable[[Json], T], request: Request) -> Operation[T]:
    """The resource that is answered."""
    response = yield from call(context, request)
    return item(document(response)["data"])


def nothing(context: Context, request: Request) -> Operation[None]:
    """Of an operation that answers without a body."""
    yield from call(context, request)


def raw(context: Context, request: Request) -> Operation[Response]:
    """The response itself."""
    return (yield from call(context, request))


def many(context: Context, item: Callable[[Json], T], request: Request) -> Operation[Page[T]]:
    """The pages of a list."""
    return (yield from pages(context, request, item))
