"""Lists: filters are a GET form, and pages follow each other by signed cursors.

    query: RunArguments = lists.query(RunQuery)         # `RunQuery` is a `ListQuery`
    page = invocations.listing(auth.caller().user_id, query["window"])
    return {"page": page, "pages": lists.pages(page)}

Cursors lead to older items only; the addresses remember those of the pages before, for "Newer".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import urlencode

from flask import request

from common.kit.paging import Page
from web.http import body, pagination, validation
from web.http.fields import OneOrMore
from web.http.schemas import QueryArguments

#: Rows of a page that can be chosen.
SIZES: Final = (20, 50, 100)
#: How many pages back an address remembers.
MOST_BACK: Final = 12
_PLACE: Final = ("cursor", "back")


@dataclass(frozen=True, slots=True)
class Pages:
    """Paths of the pages beside this one; None: there is none. `newest`: the first page, if this is another."""

    older: str | None
    newer: str | None
    newest: str | None


def query(schema: type[QueryArguments]) -> Any:  # who calls says as which TypedDict
    """The filters that the address asks for, and of a `ListQuery` also the window.

    Raises `errors.Invalid`, `errors.InvalidCursor`.
    """
    fields, several = _fields(schema)
    given = body.read_query(request, several)
    asked = {name: value for name, value in given.items() if value not in ("", [], [""]) and name != "back"}
    return validation.loaded(fields, asked, "query", ignore_unknown=True)


@cache
def _fields(schema: type[QueryArguments]) -> tuple[QueryArguments, frozenset[str]]:
    """A schema, and what may be given several times. Making one takes longer than reading by it."""
    made = schema()
    return made, frozenset(it.data_key or name for name, it in made.fields.items() if isinstance(it, OneOrMore))


def pages(page: Page[Any]) -> Pages:  # items of any kind
    """The pages beside this one; what answers a form has none."""
    if request.method != "GET":
        return Pages(None, None, None)
    cursor, back = request.args.get("cursor", ""), request.args.get("back", "")
    before = back.split(".") if back else []
    older = None
    if page.has_more and page.next is not None:
        trail = [*before, cursor][-MOST_BACK:]
        older = _path(cursor=pagination.encode(page.next), back=".".join(trail) if cursor or before else "-")
    if not cursor:
        return Pages(older, None, None)
    newer = _path(cursor="" if before[-1] == "-" else before[-1], back=".".join(before[:-1])) if before else None
    return Pages(older, newer, _path())


def _path(**place: str) -> str:
    kept = [(name, value) for name, value in request.args.items(multi=True) if name not in _PLACE and value]
    return f"{request.path}?{urlencode([*kept, *((name, value) for name, value in place.items() if value)])}"
