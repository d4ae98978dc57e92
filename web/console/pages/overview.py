"""The first page: what is left, what runs, what failed."""

from __future__ import annotations

from typing import Final

from flask import Response

from common import invocations
from common.kit.paging import Window
from web.console.blueprint import Context, blp, go, page
from web.http import auth

OPEN: Final = ("queued", "running")
#: Rows of each list.
SHOWN: Final = Window(10)


@blp.get("/")
@auth.needs("invocations:read")
@page("overview.html", parts=("overview_runs",))
def overview() -> Context:
    """Budget, open runs, last failures."""
    owner = auth.caller().user_id
    return {
        "runs": invocations.listing(owner, SHOWN, statuses=OPEN, payloads=False),
        "failures": invocations.failures(owner, SHOWN),
    }


@blp.get("")
@auth.public
@page("overview.html")
def front() -> Response:
    """The address as it is typed."""
    return go("overview")
