"""What is typed into forms: read strictly, loaded with a schema, and given back with what is wrong with it.

    class SignIn(Form):                                 # from text; a field that was left empty was not given
        email = Text(required=True, max=320)
        password = Secret(required=True)

    sent: SignInIn = forms.load(SignIn)                 # raises `errors.Invalid`

A template writes each field with the macro `field`, which asks `form` (a `FormState`) for what was typed and for what
is wrong with it. Secrets are never given back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import marshmallow as ma
from flask import g, request

from common.errors import PlatformError, Temporary
from web.http import body, large_reads, validation
from web.http.fields import Many, Secret
from web.http.schemas import QueryArguments

_SAID: Final = {
    "Missing data for required field.": "Fill this in.",
    "Field may not be null.": "Fill this in.",
    "Not a valid integer.": "Must be a whole number.",
}
Typed = Mapping[str, str | list[str]]


class Form(QueryArguments):
    """A form. Fields that it does not have are ignored, and those that were left empty were not given."""

    @ma.pre_load
    def drop_empty(self, data: Typed, **_: object) -> dict[str, object]:
        return {name: value for name, value in data.items() if value not in ("", [], [""])}


@dataclass(frozen=True, slots=True)
class FormState:
    """What a form shows: what was typed, or what it begins with, and what is wrong. `error`: it was refused."""

    typed: Typed = field(default_factory=dict)
    error: PlatformError | None = None
    labels: dict[str, str] = field(default_factory=dict)

    def value(self, name: str, default: object = "") -> str:
        """What the field has in it."""
        found = self.typed.get(name, "" if default is None else str(default))
        return found if isinstance(found, str) else next(iter(found), "")

    def chosen(self, name: str, value: object, default: Iterable[object] | object = ()) -> bool:
        """Whether the option or box with this value is chosen."""
        given = self.typed.get(name)
        if given is None and not self.typed:
            return value in default if isinstance(default, list | tuple | set | frozenset) else value == default
        return str(value) in given if isinstance(given, list) else str(value) == given

    def faults(self, name: str) -> list[str]:
        """What is wrong with the field."""
        return [detail for fault, detail in self._named() if fault == name]

    @property
    def retry_after(self) -> int | None:
        """In how many seconds it may be sent again; None: that is not what it was refused for."""
        return self.error.retry_after if isinstance(self.error, Temporary) else None

    def label(self, name: str, text: str) -> str:
        """Note what a field is called, for the summary; nothing is written."""
        self.labels[name] = text
        return ""

    def summary(self) -> list[tuple[str, str, str]]:
        """The name, the label and the fault of each field with one; those without a field have no name."""
        return [(name if name in self.labels else "", self.labels.get(name, name), it) for name, it in self._named()]

    def _named(self) -> list[tuple[str, str]]:
        faults = self.error.errors if self.error is not None else ()
        return [(fault.pointer.lstrip("/"), _SAID.get(fault.detail, fault.detail)) for fault in faults]


def load(schema: type[Form]) -> Any:  # who calls says as which TypedDict
    """The form that was sent, loaded. Raises `errors.Invalid`, `errors.RateLimited`, and what `body.read_form` does."""
    form = schema()
    several = frozenset(name for name, each in _by_key(form).items() if isinstance(each, Many))
    secret = frozenset(name for name, each in _by_key(form).items() if isinstance(each, Secret))
    sent = body.read_form(request, several, secret)
    if sum(map(len, sent.values())) > large_reads.SMALL_BYTES:
        large_reads.begin()  # the page that is answered may have it all
    g.typed = {name: value for name, value in sent.items() if name not in secret}
    return validation.loaded(form, sent, "form", ignore_unknown=True)


def state(given: Typed) -> FormState:
    """A form that shows what was typed and has nothing wrong with it."""
    return FormState(given)


def typed() -> Typed:
    """What was typed into the form of this request, without its secrets; empty before it was loaded."""
    found: Typed = g.get("typed", {})
    return found


def _by_key(schema: ma.Schema) -> dict[str, ma.fields.Field[Any]]:  # fields of whatever value
    return {each.data_key or name: each for name, each in schema.fields.items()}
