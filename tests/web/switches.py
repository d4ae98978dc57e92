"""The product as it is served, and in each answer how often others could run meanwhile (`X-Switches`).

A request runs in a greenlet of its own: others run when it is left, for a server that has to answer or between two
pieces of a computation. Served by real gunicorn workers in the tests (`tests.web.switches:app`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import greenlet

from wsgi import app

_left: dict[greenlet.greenlet, int] = {}


def _count(event: str, between: tuple[greenlet.greenlet, greenlet.greenlet]) -> None:
    if event == "switch" and between[0] in _left:
        _left[between[0]] += 1


_serve = app.wsgi_app


def _counted(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    me = greenlet.getcurrent()
    _left[me] = 0
    greenlet.settrace(_count)

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(status, [*headers, ("X-Switches", str(_left.pop(me)))], *more)

    return _serve(environ, start)


app.wsgi_app = _counted  # type: ignore[method-assign]
