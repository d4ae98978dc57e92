"""Pages as responses, and errors as pages: what happened, what did not, what to do, and what to quote."""

from __future__ import annotations

from typing import Final

from flask import Response, g, request

from common import errors
from common.errors import PlatformError, Temporary
from web.console import frame, rendering, session
from web.console.forms import FormState
from web.http import problems

HTML: Final = "text/html; charset=utf-8"
#: Nothing from elsewhere, nothing inline, and no text becomes HTML but through the console's own policy.
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types console",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "Vary": "Cookie",
}
#: What is said beside the error's own words.
ADVICE: Final[dict[type[PlatformError], str]] = {
    errors.NotFound: "It may have been removed, it may belong to another account, or the address may be mistyped.",
    errors.Unauthenticated: "Your session has ended. Sign in again; in most browsers, the Back button restores "
    "what you typed.",
    errors.Unavailable: "Accepted runs are kept and continue by themselves. Pages work again when the service does.",
    errors.TooMany: "Nothing was done.",
    problems.InternalError: "The error was logged. Quote the request id when you report it.",
}


def as_page(error: PlatformError) -> Response:
    """The page of an error in the current request; a reader without a session is led to the sign-in instead."""
    if isinstance(error, errors.Unauthenticated) and request.method in ("GET", "HEAD") and "part" not in request.args:
        where = rendering.url("sign_in", next=request.full_path.rstrip("?"))
        return Response(status=303, headers={"Location": where, **HEADERS})
    status = problems.status_of(type(error))
    g.reader = session.reader()
    away = isinstance(error, errors.Unavailable)
    advice = next((text for kind, text in ADVICE.items() if isinstance(error, kind)), None)
    context = {
        "error": error,
        "status": status,
        "advice": advice,
        "retry_after": error.retry_after if isinstance(error, Temporary) else None,
        "retry": request.full_path.rstrip("?") if request.method == "GET" else None,
        "faults": [(fault.pointer.lstrip("/"), fault.detail) for fault in error.errors],
    }
    return page("error.html", context, status, reading=not away and status < 500, error=error)


def page(
    template: str,
    context: dict[str, object],
    status: int = 200,
    *,
    reading: bool = True,
    error: PlatformError | None = None,
) -> Response:
    """A whole page with its frame."""
    known = {"frame": frame.current(reading=reading), "form": FormState(), **context}
    response = Response(rendering.render(template, known), status, content_type=HTML)
    if isinstance(error, Temporary):
        response.headers["Retry-After"] = str(error.retry_after)
    response.headers.update(HEADERS)
    return response


def part(name: str, context: dict[str, object]) -> Response:
    """A part of a page, for one that is open; its head (the budget) can be asked for as `head`."""
    known = {"frame": frame.current(reading=name == "head"), "form": FormState(), **context}
    return Response(rendering.render(f"parts/{name}.html", known), content_type=HTML)
