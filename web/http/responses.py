"""The JSON envelope of responses, and our own URLs in headers."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, url_for

#: Response headers by name.
Headers = dict[str, str]
#: A representation by field, before its schema renders it.
Shown = dict[str, object]


class Enveloped(dict[str, object]):
    """A body that already has its envelope."""


def enveloped(data: object, status: int = 200, headers: Headers | None = None) -> Response:
    """A response with rendered data in its envelope, without a schema."""
    response = current_app.make_response({"data": data})
    response.status_code = status
    response.headers.update(headers or {})
    return response


def location(endpoint: str, **values: Any) -> Headers:  # as `url_for`, whose own options are of other types
    """The `Location` header of a created resource: `return thing, location(".show", thing_id=thing.id)`."""
    return {"Location": absolute_url(url_for(endpoint, **values))}


def absolute_url(path: str) -> str:
    """The public URL of a path; never built from the Host header, which the client controls."""
    return f"{current_app.config['PUBLIC_URL']}{path}"
