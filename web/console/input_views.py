"""An input on the page of a tool: as fields or as JSON; one that is too large for that stays as it is."""

from __future__ import annotations

import json
from typing import Final, TypedDict

from web.console import forms, inputs, json_texts
from web.console.inputs import Given, InputField, Schema

#: What the page says of an input that is longer than `json_texts.MOST_CHARS`.
TOO_LARGE: Final = "This input is larger than 64 kB: it stays as it is, and is not shown as fields or as code."
#: And of one that is stored.
NOT_READ: Final = (
    "The input of that run is larger than 64 kB, too large for this page. "
    "The page of the run has it as a download, and runs it again."
)


class InputView(TypedDict):
    """What the templates of an input need. `too_large`: what is said if it is; otherwise empty."""

    fields: list[InputField]
    show: str
    raw: str
    too_large: str


def of_value(schema: Schema, value: object, show: str) -> InputView:
    """A value that is stored, or none (`inputs.MISSING`). `show`: `form`, `json` or `code`."""
    text = "{}" if value is inputs.MISSING else json_texts.within(value)
    if text is None:
        return {"fields": [], "show": "json", "raw": json.dumps(value, ensure_ascii=False), "too_large": TOO_LARGE}
    return _written(schema, value, show, text)


def _written(schema: Schema, value: object, show: str, text: str) -> InputView:
    fields = inputs.fields(schema, value)
    return {"fields": fields, "show": show if fields or show == "code" else "json", "raw": text, "too_large": ""}


def of_form(schema: Schema, given: Given) -> InputView:
    """What was typed, whatever it is worth: the form of this request has it."""
    fields, show = inputs.fields(schema, inputs.MISSING, given), str(given.get("typed", "form"))
    return {"fields": fields, "show": show if fields else "json", "raw": "{}", "too_large": ""}


def of_typed(schema: Schema, value: object, show: str) -> InputView:
    """The value of what was typed; of one that is too large, what was typed (the form of this request has it)."""
    text = json_texts.within(value)
    if text is None:
        return {**of_form(schema, forms.typed()), "too_large": TOO_LARGE}
    return _written(schema, value, show, text)
