"""Templates: escaped, strict about names, and without access to anything but what is given here and to a page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from secrets import token_urlsafe
from typing import Final

from flask import current_app, url_for
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common.kit import clock
from web.console import assets, show

TEMPLATES: Final = Path(__file__).parent / "templates"
FILTERS: Final = (
    show.ago,
    show.as_json,
    show.day,
    show.duration,
    show.elapsed,
    show.exact,
    show.iso,
    show.local,
    show.meter,
    show.milliseconds,
    show.money,
    show.moment,
    show.near,
    show.number,
    show.second,
    show.pretty,
    show.price,
    show.short,
    show.signed,
    show.size,
    show.tokens,
    show.units,
    show.waiting,
    show.words,
)


def render(template: str, context: Mapping[str, object]) -> str:
    """The text of a template."""
    return environment().get_template(template).render(context)


@cache
def environment() -> Environment:
    """Of this process."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=show.finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update({each.__name__: each for each in FILTERS}, typed=show.Typed)
    made.globals.update(
        url=url, exists=exists, static=assets.address, count=show.count, new_key=new_key, server_time=server_time
    )
    return made


def exists(endpoint: str) -> bool:
    """Whether there is such a page."""
    return f"console.{endpoint}" in current_app.view_functions


def url(endpoint: str, **values: object) -> str:
    """The path of a page: `url("runs", status="failed")`."""
    if not values:
        return _path(endpoint)
    return url_for(f"console.{endpoint}", **values)  # type: ignore[arg-type]  # its own options are of other types


@cache
def _path(endpoint: str) -> str:
    """Of a page whose address has nothing variable: it is the same in every request, and asked for often in each."""
    return url_for(f"console.{endpoint}")


def server_time() -> str:
    """The time of the server, for scripts that count on from it."""
    return show.iso(clock.now())


def new_key() -> str:
    """A key for a form that is about to be shown: sent twice, it is carried out once (`repeats`)."""
    return token_urlsafe(18)
