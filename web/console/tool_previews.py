"""The form that users will see for an input schema, while an admin types it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common import errors, tools
from common.errors import FieldError
from web.console import inputs, tool_forms
from web.console.forms import Typed
from web.console.inputs import InputField


@dataclass(frozen=True, slots=True)
class FormPreview:
    """The fields of the form that users will see; or why there are none: `faults`, by the field that they are of."""

    fields: Sequence[InputField] = ()
    faults: Sequence[FieldError] = ()


def previewed(typed: Typed) -> FormPreview:
    """As `preview`, whatever was typed."""
    try:
        return FormPreview(preview(typed))
    except errors.Invalid as error:
        return FormPreview(faults=error.errors)


def preview(typed: Typed) -> list[InputField]:
    """The fields of the form that users will see for the input schema that was typed. Raises `Invalid`."""
    found = tool_forms.documents(typed, ("input_schema", "example_input"))
    schema = found.get("input_schema")
    if not isinstance(schema, Mapping):
        raise errors.Invalid("There is no form.", errors=[FieldError("/input_schema", "Must be a JSON object.")])
    try:
        tools.check_schema(schema, found.get("example_input"))
    except ValueError as error:
        raise errors.Invalid("There is no form.", errors=[FieldError("/input_schema", str(error)[:300])]) from None
    example = found.get("example_input")
    return inputs.fields(schema, inputs.MISSING if example is None else example)
