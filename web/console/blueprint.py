"""The console's blueprint, and how a view becomes a page or an action.

    @blp.get("/runs")
    @auth.needs("invocations:read")
    @page("runs.html")                              # the view returns what the template needs, or a response
    def runs() -> Context:
        query: RunArguments = lists.query(RunQuery)
        found = invocations.listing(auth.caller().user_id, query["window"])
        return {"page": found, "pages": lists.pages(found)}

    @blp.post("/runs/<uuid:invocation_id>/cancel")
    @auth.needs("invocations:write")
    @action("cancel.html", again=asked)             # refused: that page once more, with what was typed and why
    def cancel(invocation_id: UUID) -> Response:
        invocations.cancel(auth.caller(), invocation_id)
        return go("run", invocation_id=invocation_id)

That a form comes from our own pages is checked here, before every view, so that none can forget it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, g, redirect, request

from common.errors import Forbidden, PlatformError, Unauthenticated
from common.kit import db, redis
from common.settings.links import CONSOLE_PREFIX
from web.console import forms, rendering, responses, session
from web.console.forms import FormState
from web.http import limits, problems

P = ParamSpec("P")
#: What a template needs, by name.
Context = dict[str, object]
View = Callable[P, Context | Response]

blp: Final = Blueprint("console", __name__, url_prefix=CONSOLE_PREFIX)
_READING: Final = ("GET", "HEAD", "OPTIONS")


@blp.before_request
def refuse_foreign_forms() -> None:
    """Raises `Forbidden` unless what changes something comes from a page of ours (cross-site request forgery)."""
    if request.method in _READING:
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    ours = (_origin(current_app.config["PUBLIC_URL"]), f"{request.scheme}://{request.host}")
    if site != "same-origin" and (site is not None or origin is None or origin not in ours):
        raise Forbidden("This form was not sent from a page of the console. Nothing was done.")


@blp.after_request
def keep_session(response: Response) -> Response:
    """Write the session's cookie."""
    return session.write_cookie(response)


def page(template: str, *, parts: tuple[str, ...] = ()) -> Callable[[View[P]], Callable[P, Response]]:
    """Show what the view returns. `?part=<one of parts>` answers with that part alone, for a page that is open."""

    def decorate(view: View[P]) -> Callable[P, Response]:
        @wraps(view)
        def shown(*args: P.args, **kwargs: P.kwargs) -> Response:
            limits.count()
            result = view(*args, **kwargs)
            if isinstance(result, Response):
                return result
            part = request.args.get("part")
            return responses.part(part, result) if part in ("head", *parts) else responses.page(template, result)

        return _html(shown)

    return decorate


def action(
    template: str, *, again: Callable[P, Context]
) -> Callable[[Callable[P, Context | Response]], Callable[P, Response]]:
    """Do something, and answer with a response, or with the page of what the view returns (shown once, not stored).

    Refused: `template` once more, with `again` (called as the view was), what was typed, and what is wrong.
    """

    def decorate(view: View[P]) -> Callable[P, Response]:
        @wraps(view)
        def done(*args: P.args, **kwargs: P.kwargs) -> Response:
            try:
                limits.count()
                result = view(*args, **kwargs)
            except Unauthenticated as refusal:
                if "caller" in g:  # the session has ended meanwhile
                    raise
                return _refused(template, again(*args, **kwargs), refusal)
            except PlatformError as refusal:
                return _refused(template, again(*args, **kwargs), refusal)
            except (db.Unreachable, redis.RedisUnreachable) as error:
                return _refused(template, again(*args, **kwargs), problems.unreachable(error))
            return result if isinstance(result, Response) else responses.page(template, result)

        return _html(done)

    return decorate


def go(endpoint: str, **values: object) -> Response:
    """Lead to another page, after something was done (303, so that a reload does not do it again)."""
    return redirect_to(rendering.url(endpoint, **values))


def redirect_to(path: str) -> Response:
    """As `go`, to a path of ours."""
    return current_app.make_response(redirect(path, 303))


def _refused(template: str, context: Context, error: PlatformError) -> Response:
    g.problem_code = error.code
    state = FormState(forms.typed(), error)
    return responses.page(template, {**context, "form": state}, problems.status_of(type(error)), error=error)


def _html(view: Callable[P, Response]) -> Callable[P, Response]:
    view.produces = ["text/html"]  # type: ignore[attr-defined]
    return view


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
