"""Where every page of the console is seen: taken from the url map, so that no page can be forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from flask import Flask
from werkzeug.routing import Rule

#: The states of a page, by its endpoint: what its address asks for. Pages that are not named have one, without a query.
STATES: Final[Mapping[str, tuple[str, ...]]] = {
    "admin": ("", "?bucket=hour&from=2020-01-01T00:00&to=2020-01-02T00:00"),
    "plan_cancel": ("?when=now",),
    "plan_change": ("?plan=free",),
    "runs": ("", "?group=error", "?status=expired&find=x"),
    "tool": ("", "?show=json", "?from={ended}"),
    "usage": ("", "?by=tool"),
    "weigh_grant": ("?tokens=-500&reason=because",),
}
#: Pages that are nothing without the query that `STATES` has for them.
ASKING: Final = ("plan_cancel", "plan_change", "weigh_grant")
#: Other rows than the address of a page names.
MORE: Final[Mapping[str, tuple[str, ...]]] = {"run": ("/runs/{ended}", "/runs/{failed}")}
#: Lead to another page.
LEADING_ON: Final = ("front",)


def endpoint(rule: Rule) -> str:
    """The name of a page in the console."""
    return str(rule.endpoint).removeprefix("console.")


def rules(app: Flask, method: str) -> Iterator[tuple[Rule, str]]:
    """The console's rules for a method, each with the kind of its policy."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("console.") and method in (rule.methods or ()):
            view: Any = app.view_functions[rule.endpoint]
            yield rule, view.policy.kind


def pages(app: Flask) -> Iterator[tuple[Rule, str]]:
    """Those of pages."""
    for rule, policy in rules(app, "GET"):
        view: Any = app.view_functions[rule.endpoint]
        if "text/html" in getattr(view, "produces", ()) and endpoint(rule) not in LEADING_ON:
            yield rule, policy


def path(rule: Rule, there_is: Mapping[str, str]) -> str:
    """Its path below /console. A `KeyError` is an argument for which there is nothing."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule.removeprefix("/console")).format_map(there_is)


def addresses(rule: Rule, there_is: Mapping[str, str]) -> Iterator[str]:
    """Where a page is seen in all its states."""
    for state in STATES.get(endpoint(rule), ("",)):
        yield path(rule, there_is) + state.format_map(there_is)
    for other in MORE.get(endpoint(rule), ()):
        yield other.format_map(there_is)
