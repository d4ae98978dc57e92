"""Lists: keyset paging with cursors that nobody can forge or carry to another list.

A view takes a `Window` and gives back a `Page` (both `common/kit/paging.py`)::

    class EndpointQuery(ListQuery):               # limit and cursor come with it; add the filters
        status = OneOrMore(Word("enabled", "disabled"))

    @blp.get("")
    @auth.needs("webhooks:manage")
    @blp.arguments(EndpointQuery, location="query")
    @blp.page(Endpoint)                           # → {"data": […], "meta": {…}} and Link
    def index(query: dict[str, Any]) -> Page[WebhookEndpoint]:
        return webhooks.endpoints(auth.caller().user_id, **query)     # query["window"]: Window, and the filters

A cursor is a MAC and the position, both base64url; the MAC also covers the path and the caller, so garbage,
altered and foreign ones are all 400 `invalid_cursor`. The filters are not covered: a position stays right.
"""

from __future__ import annotations

import base64
import hmac
import json
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import marshmallow as ma
from flask import g, request

from common import errors
from common.kit import crypto
from common.kit.paging import Page, Position, Window
from web.http.answers import Enveloped, absolute
from web.http.fields import Whole
from web.http.schemas import Query

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
_MAC_CHARS = 22  # 132 bits in base64url


class ListQuery(Query):
    """`limit` and `cursor` of every list; loads to `{"window": Window, …filters}`."""

    limit = Whole(1, MAX_LIMIT, load_default=DEFAULT_LIMIT, metadata={"description": "Items per page."})
    #: Whatever we have not given out is no cursor, also nothing at all: that is for `decode` to say.
    cursor = ma.fields.String(
        metadata={
            "description": "`next_cursor` of the page before.",
            "pattern": "^[A-Za-z0-9_-]+$",
            "minLength": 1,
            "maxLength": 1024,
        }
    )

    @ma.post_load
    def window(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        cursor = data.pop("cursor", None)
        window = Window(data.pop("limit"), decode(cursor) if cursor is not None else None)
        return {**data, "window": window}


def render(page: Page[Any], schema: ma.Schema) -> Any:
    """The list answer; with `Link` when there is more."""
    cursor = encode(page.next) if page.next is not None else None
    meta = {"limit": page.limit, "has_more": page.has_more, "next_cursor": cursor}
    body = Enveloped(data=schema.dump(page.items), meta=meta)
    return (body, {"Link": f'<{_next_url(cursor)}>; rel="next"'}) if page.has_more and cursor else body


def _next_url(cursor: str) -> str:
    query = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    return absolute(f"{request.path}?{urlencode([*query, ('cursor', cursor)])}")


# -- cursors -------------------------------------------------------------------------------------------------------


def encode(position: Position) -> str:
    """The cursor of a position in the list at hand."""
    payload = json.dumps([_tagged(value) for value in position], separators=(",", ":")).encode()
    where = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    return _macs(where)[0] + where


def decode(cursor: str) -> tuple[Any, ...]:
    """The position that `encode` hid. Raises `errors.InvalidCursor`."""
    mac, where = cursor[:_MAC_CHARS], cursor[_MAC_CHARS:]
    if not cursor.isascii() or not any(hmac.compare_digest(mac, ours) for ours in _macs(where)):
        raise errors.InvalidCursor
    payload = base64.urlsafe_b64decode(where + "=" * (-len(where) % 4))
    return tuple(_untagged(tag, value) for tag, value in json.loads(payload))


def _macs(where: str) -> list[str]:
    """What proves that `where` is ours, under every key (cursors outlive a rotation), newest first."""
    caller = g.get("caller")
    message = f"{request.path}\n{caller.user_id if caller else ''}\n{where}"
    return [mac[:_MAC_CHARS] for mac in crypto.macs("cursor", message)]


def _tagged(value: UUID | datetime | int | str) -> tuple[str, int | str]:
    if isinstance(value, UUID):
        return "u", value.hex
    if isinstance(value, datetime):
        return "t", value.isoformat()
    return ("i", value) if isinstance(value, int) else ("s", value)


def _untagged(tag: str, value: Any) -> Any:
    if tag == "u":
        return UUID(value)
    return datetime.fromisoformat(value) if tag == "t" else value
