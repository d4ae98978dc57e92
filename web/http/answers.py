"""Answers of the hub's own JSON shape: the envelope, and URLs of ours in headers."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, url_for


class Enveloped(dict[str, Any]):
    """An answer that has its envelope already."""


def answer(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An enveloped answer for what is rendered already (a dict): no schema runs over it."""
    response = current_app.make_response({"data": data})
    response.status_code = status
    response.headers.update(headers or {})
    return response


def located(endpoint: str, **values: Any) -> dict[str, str]:
    """The `Location` header for what was just created: `return thing, located(".show", thing_id=thing.id)`."""
    return {"Location": absolute(url_for(endpoint, **values))}


def absolute(path: str) -> str:
    """The public URL of a path of ours; never from the Host header, which a client chooses."""
    return f"{current_app.config['PUBLIC_URL']}{path}"
