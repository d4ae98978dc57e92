"""Keyset pagination without SQL: the request for a page (`Window`) and the result (`Page`).

A list function fetches `window.limit + 1` rows after `window.after` and passes them to `Page.cut`::

    def endpoints(user_id: UUID, window: Window) -> Page[WebhookEndpoint]:
        query = select(WebhookEndpoint).where(WebhookEndpoint.user_id == user_id)
        if window.after:
            query = query.where(WebhookEndpoint.id < window.after[0])
        query = query.order_by(WebhookEndpoint.id.desc()).limit(window.limit + 1)
        with db.snapshot() as session:
            return Page.cut(session.scalars(query).all(), window, lambda row: (row.id,))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from common.kit.pieces import StepCounter

T = TypeVar("T")
U = TypeVar("U")

#: Maximum size of the inputs and outputs on one page.
MAX_PAYLOAD_BYTES = 1024 * 1024

#: Items in a piece of rendering: about a millisecond.
_pieces = StepCounter(steps=20)

#: The end of a page: the values of the sort key, with the same types as in `Window.after`.
Position = tuple[UUID | datetime | int | str, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` items after the position `after` (None: from the start)."""

    limit: int = 20
    after: Position | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page. `next` is the position to continue from; a feed has one even when there are no more items yet."""

    items: Sequence[T]
    limit: int
    has_more: bool = False
    next: Position | None = None

    @classmethod
    def cut(
        cls, rows: Sequence[T], window: Window, position: Callable[[T], Position], *, feed: bool = False
    ) -> Page[T]:
        """The page of `rows` (fetched with `window.limit + 1`).

        A `feed` can be resumed from its end: `next` is then also set on the last page.
        """
        return cls.of(rows[: window.limit], window, position, more=len(rows) > window.limit, feed=feed)

    @classmethod
    def of(
        cls, items: Sequence[T], window: Window, position: Callable[[T], Position], *, more: bool, feed: bool = False
    ) -> Page[T]:
        """The page with exactly these items; `more`: there are further items after them."""
        end = position(items[-1]) if items else window.after
        return cls(items, window.limit, more, end if more or feed else None)

    def map(self, render: Callable[[T], U]) -> Page[U]:
        """The same page with every item rendered; others run between some of them."""
        rendered = list[U]()
        for item in self.items:
            rendered.append(render(item))
            _pieces.step()
        return Page(rendered, self.limit, self.has_more, self.next)
