"""A small application on the product's web layer: a resource with every type of field, and views that fail on demand.

Served by real gunicorn workers in the tests (`tests.web.things:app`); `X-Account` names the calling account.
"""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from flask import Response, g, request

from common import errors
from common.kit import db, log, redis
from common.kit.paging import Page
from common.settings import load
from web import server
from web.api.blueprint import Blueprint
from web.app import create_app
from web.http import auth, connections, limits
from web.http.auth import AccessPolicy
from web.http.fields import Flag, Id, Instant, JsonObject, Many, Metadata, OneOrMore, Secret, Text, Tokens, Whole, Word
from web.http.pagination import ListQuery
from web.http.quotas import RateLimit
from web.http.responses import enveloped, location
from web.http.schemas import Body, Resource

blp = Blueprint("things", __name__, url_prefix="/things", description="Things")
TOTAL = 45


class ThingIn(Body):
    name = Text(required=True, max=50, nfc=True, line=True)
    note = Text(max=100)
    secret = Secret(max=20)
    count = Whole(0, 10)
    number = Whole(-(2**31))
    tokens = Tokens()
    flag = Flag()
    at = Instant()
    other = Id()
    kind = Word("big", "small")
    tags = Many(Text(max=10), max=5, unique=True)
    free = JsonObject()
    labels = Metadata()


class Thing(Resource):
    id = Id()
    name = Text()


class ThingQuery(ListQuery):
    status = OneOrMore(Word("open", "shut"), max=2)
    flag = Flag()
    at = Instant()
    q = Text(max=100)


def account(view: Callable[..., Any]) -> Callable[..., Any]:
    """Stands in for credentials: the account is in the header `X-Account`."""

    @functools.wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if "X-Account" not in request.headers:
            raise errors.Unauthenticated
        g.caller = SimpleNamespace(user_id=UUID(request.headers["X-Account"]))
        log.bind(user_id=request.headers["X-Account"])
        return view(*args, **kwargs)

    wrapper.policy = AccessPolicy("signed_in")  # type: ignore[attr-defined]
    return wrapper


def known(view: Callable[..., Any]) -> Callable[..., Any]:
    """Requires no credentials, but accepts bodies as large as authenticated views do."""
    view.policy = AccessPolicy("signed_in")  # type: ignore[attr-defined]
    return view


@blp.post("")
@known
@blp.arguments(ThingIn)
@blp.response(201, headers=["Location"])
@blp.raises(errors.SlugTaken, errors.UrlRefused)
def create(body: dict[str, Any]) -> Any:
    body = {name: value if name != "at" else value.isoformat() for name, value in body.items()}
    return enveloped(body, 201, location("things.show", thing_id=UUID(int=1)))


@blp.get("/<uuid:thing_id>")
@auth.public
@blp.response(200, Thing)
def show(thing_id: UUID) -> Any:
    return {"id": thing_id, "name": "thing"}


@blp.delete("/<uuid:thing_id>")
@auth.public
@blp.response(204)
def remove(thing_id: UUID) -> None:
    """Deletes nothing."""


@blp.post("/<uuid:thing_id>/poke")
@auth.public
@blp.response(200)
def poke(thing_id: UUID) -> Any:
    return {"poked": str(thing_id)}


@blp.post("/optional")
@auth.public
@blp.arguments(Body.from_dict({"count": Whole(0, 10, load_default=3)}), required=False)
@blp.response(200)
def optional(body: dict[str, Any]) -> Any:
    return body


@blp.get("/search")
@auth.public
@blp.arguments(ThingQuery, location="query")
@blp.response(200)
def search(query: dict[str, Any]) -> Any:
    at = query.get("at")
    return {**query, "window": query["window"].limit, "at": at.isoformat() if at else None}


@blp.get("")
@account
@blp.arguments(ListQuery, location="query")
@blp.page(Thing)
def index(query: dict[str, Any]) -> Page[Any]:
    window = query["window"]
    below = window.after[0].int if window.after else TOTAL
    rows = [{"id": UUID(int=n), "name": str(n)} for n in range(below - 1, -1, -1)][: window.limit + 1]
    return Page.cut(rows, window, lambda row: (row["id"],))


@blp.get("/elsewhere")
@account
@blp.arguments(ListQuery, location="query")
@blp.page(Thing)
def elsewhere(query: dict[str, Any]) -> Page[Any]:
    return Page.cut([], query["window"], lambda _: ())


@blp.get("/mine")
@account
@blp.response(200)
def mine() -> Any:
    return str(g.caller.user_id)


@blp.post("/submit")
@account
@limits.submits
@blp.response(202)
def submit() -> Any:
    limits.show(RateLimit("submits", 300, 60, 299, 60))
    return "accepted"


@blp.post("/refused-submit")
@account
@limits.submits
@blp.response(202)
def refused_submit() -> Any:
    raise errors.BudgetExhausted(required=5, available=3, shortfall=2)


FAILURES: dict[str, Callable[[], Exception]] = {
    "bug": lambda: ZeroDivisionError("secret-in-a-message"),
    "database": lambda: db.Unreachable("secret-in-a-message"),
    "commit": lambda: db.CommitUnknown("secret-in-a-message"),
    "redis": lambda: redis.RedisUnreachable("secret-in-a-message"),
    "rate": lambda: errors.RateLimited(retry_after=7),
    "token": errors.TokenExpired,
    "budget": lambda: errors.BudgetExhausted(required=5, plans=["pro"], resets_at=datetime(2027, 2, 1, tzinfo=UTC)),
    "recursion": lambda: RecursionError("secret-in-a-message"),
}


@blp.get("/fail/<how>")
@auth.public
@blp.response(200)
def fail(how: str) -> Any:
    raise FAILURES[how]()


@blp.post("/links/<token>")
@auth.public
@blp.response(204)
def follow(token: str) -> None:
    raise errors.InvalidLink


@blp.get("/stream")
@auth.public
@blp.response(200, content_type="text/event-stream")
def stream() -> Response:
    def forever() -> Iterator[bytes]:
        while True:
            yield b": still here\n\n"
            time.sleep(0.05)

    return Response(forever(), content_type="text/event-stream")


@blp.get("/broken-stream")
@auth.public
@blp.response(200, content_type="text/event-stream")
def broken_stream() -> Response:
    def one_and_a_bug() -> Iterator[bytes]:
        yield b": still here\n\n"
        raise ZeroDivisionError

    return Response(one_and_a_bug(), content_type="text/event-stream")


@blp.get("/wide")
@auth.public
@blp.response(200)
def wide() -> Any:
    return 10**30


@blp.get("/collected")
@auth.public
@blp.response(200)
def collected() -> Any:
    """How many objects a garbage collection leaves out, and how many it looks through."""
    return [gc.get_freeze_count(), len(gc.get_objects())]


server.BODY_SECONDS = 1.0
connections.HEAD_SECONDS = 1.0
app = create_app(load(), [blp])
