"""Keyset pagination with signed cursors.

A view takes a `Window` and returns a `Page` (both `common/kit/paging.py`)::

    class EndpointQuery(ListQuery):               # limit and cursor come with it; add the filters
        status = OneOrMore(Word("enabled", "disabled"))

    @blp.get("")
    @auth.needs("webhooks:manage")
    @blp.arguments(EndpointQuery, location="query")
    @blp.page(Endpoint)                           # → {"data": […], "meta": {…}} and Link
    def index(query: EndpointArguments) -> Page[WebhookEndpoint]:     # a `ListArguments` with the filters
        return webhooks.endpoints(auth.caller().user_id, **query)

A cursor is a MAC and a position, both base64url. The MAC also covers the path and the caller, so a cursor that was
altered or belongs to another list or caller is refused: 400 `invalid_cursor`. It does not cover the filters: a position
is valid with any of them.
"""

from __future__ import annotations

import base64
import hmac
import json
from datetime import datetime
from typing import NotRequired, TypedDict, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import marshmallow as ma
from flask import g, request

from common import errors
from common.kit import crypto
from common.kit.paging import Page, Position, Window
from web.http.fields import Whole
from web.http.responses import Enveloped, Headers, absolute_url
from web.http.schemas import QueryArguments

T = TypeVar("T")
DEFAULT_LIMIT = 20
MAX_LIMIT = 100
_MAC_CHARS = 22  # 132 bits in base64url


class ListArguments(TypedDict):
    """What a `ListQuery` loads."""

    window: Window


class _Given(TypedDict):
    limit: int
    cursor: NotRequired[str]


class ListQuery(QueryArguments):
    """`limit` and `cursor`, the parameters of every list; loads as `ListArguments`, and the filters."""

    limit = Whole(1, MAX_LIMIT, load_default=DEFAULT_LIMIT, metadata={"description": "Items per page."})
    #: Validated by `decode`, the empty string too, so that every invalid cursor gets the same error.
    cursor = ma.fields.String(
        metadata={
            "description": "`next_cursor` of the page before.",
            "pattern": "^[A-Za-z0-9_-]+$",
            "minLength": 1,
            "maxLength": 1024,
        }
    )

    @ma.post_load
    def window(self, data: _Given, **_: object) -> dict[str, object]:
        """Replace `limit` and `cursor` by the window that they ask for."""
        cursor = data.get("cursor")
        filters = {name: value for name, value in data.items() if name not in ("limit", "cursor")}
        return {**filters, "window": Window(data["limit"], decode(cursor) if cursor is not None else None)}


def render(page: Page[T], schema: ma.Schema) -> Enveloped | tuple[Enveloped, Headers]:
    """The body of a list, with a `Link` header if there are more items."""
    cursor = encode(page.next) if page.next is not None else None
    meta = {"limit": page.limit, "has_more": page.has_more, "next_cursor": cursor}
    body = Enveloped(data=schema.dump(page.items), meta=meta)
    return (body, {"Link": f'<{_next_url(cursor)}>; rel="next"'}) if page.has_more and cursor else body


def _next_url(cursor: str) -> str:
    query = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    return absolute_url(f"{request.path}?{urlencode([*query, ('cursor', cursor)])}")


# -- cursors -------------------------------------------------------------------------------------------------------


def encode(position: Position) -> str:
    """The cursor of a position in the current list."""
    payload = json.dumps([_tagged(value) for value in position], separators=(",", ":")).encode()
    where = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    return _macs(where)[0] + where


def decode(cursor: str) -> Position:
    """The position of a cursor. Raises `errors.InvalidCursor`."""
    mac, where = cursor[:_MAC_CHARS], cursor[_MAC_CHARS:]
    if not cursor.isascii() or not any(hmac.compare_digest(mac, ours) for ours in _macs(where)):
        raise errors.InvalidCursor
    payload = base64.urlsafe_b64decode(where + "=" * (-len(where) % 4))
    return tuple(_untagged(tag, value) for tag, value in json.loads(payload))


def _macs(where: str) -> list[str]:
    """The MACs of `where` under all keys, newest first: cursors stay valid over a key rotation."""
    caller = g.get("caller")
    message = f"{request.path}\n{caller.user_id if caller else ''}\n{where}"
    return [mac[:_MAC_CHARS] for mac in crypto.macs("cursor", message)]


def _tagged(value: UUID | datetime | int | str) -> tuple[str, int | str]:
    if isinstance(value, UUID):
        return "u", value.hex
    if isinstance(value, datetime):
        return "t", value.isoformat()
    return ("i", value) if isinstance(value, int) else ("s", value)


def _untagged(tag: str, value: str | int) -> UUID | datetime | str | int:
    if tag == "u":
        return UUID(str(value))
    return datetime.fromisoformat(str(value)) if tag == "t" else value
