"""Lists: page after page, as long as somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from joyfull import wire
from joyfull.context import Context
from joyfull.errors import BadResponse
from joyfull.exchange import Operation, Request, Response, emit
from joyfull.retrying import call
from joyfull.wire import Json

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list, in its order."""

    items: tuple[T, ...]
    has_more: bool
    next_cursor: str | None
    response: Response


def document(response: Response) -> Mapping[str, Json]:
    """The JSON object of a response. Raises BadResponse."""
    try:
        found = wire.decode(response.body)
    except ValueError as error:
        raise BadResponse(f"{response.status} without JSON: {response.body[:200]!r}") from error
    if not isinstance(found, dict):
        raise BadResponse(f"{response.status} without a JSON object: {response.body[:200]!r}")
    return found


def page(response: Response, item: Callable[[Json], T]) -> Page[T]:
    """The page that a response has."""
    found = document(response)
    meta: Mapping[str, Json] = found.get("meta", {})
    return Page(tuple(map(item, found["data"])), bool(meta.get("has_more")), meta.get("next_cursor"), response)


def pages(context: Context, request: Request, item: Callable[[Json], T]) -> Operation[Page[T]]:
    """Emits every page; returns the last."""
    query = request.query
    while True:
        found = page((yield from call(context, request)), item)
        yield from emit(found)
        if not found.has_more or found.next_cursor is None:
            return found
        kept = tuple(pair for pair in query if pair[0] != "cursor")
        request = replace(request, query=(*kept, ("cursor", found.next_cursor)))
