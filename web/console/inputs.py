"""A tool's input as a form: made of its JSON Schema and of a value, and read back to exactly that value.

The name of a field says how it is read: one letter, then the JSON Pointer of what it holds.

    s/text    text               n/count   a number         b/verbose  true or false
    l/tags    a text on a line   j/extra   JSON             e/mode     JSON of one of the options

A field that was left empty was not given; `typed_values` reads the others. What a simpler field could not hold (an
empty text, null, a text with line breaks among others) is shown as JSON, and so is what a schema says in other words
than those that are known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from common import errors
from common.errors import FieldError
from web.console import json_texts, typed_values
from web.http import body

#: Objects within objects: their fields are shown as a group, deeper ones as JSON.
LEVELS: Final = 2
#: A value with more is shown as JSON: each takes as long to write as thousands of characters.
MOST_FIELDS: Final = 200
#: Longer texts have several lines.
LINE: Final = 200
_DATE: Final = re.compile(r"|\d{4}-\d\d-\d\d", re.ASCII)
_FORMATS: Final = {"date": "date", "email": "email", "uri": "url"}
MISSING: Final = object()
Given = Mapping[str, str | list[str]]
Schema = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class InputField:
    """A field. `kind`: the letter of its name; `type`: of a line of text; `options`: pairs of value and text."""

    name: str
    label: str
    value: str
    hint: str
    required: bool
    type: str = ""
    options: Sequence[tuple[str, str]] = ()
    group: str = ""

    @property
    def kind(self) -> str:
        """How it is read."""
        return self.name[0]


def fields(schema: Schema, value: object, typed: Given | None = None) -> list[InputField]:
    """The fields for an input (`MISSING`: none yet); none, if it has more than `MOST_FIELDS`.

    Fields that are in `typed` are of the kind that was typed.
    """
    if schema.get("type") != "object" or not isinstance(schema.get("properties"), dict):
        return []
    if value is not MISSING and not isinstance(value, dict):
        return []
    kinds = {name[1:]: name[0] for name in typed or {} if "/" in name}
    made = _Builder(kinds, value is MISSING).of_object(schema, value)
    found = list(made if value is MISSING else islice(made, MOST_FIELDS + 1))
    return found if value is MISSING or len(found) <= MOST_FIELDS else []


def read(given: Given) -> object:
    """The input that was typed into such fields. Raises `errors.Invalid` with the names of unreadable ones."""
    found: dict[str, object] = {}
    faults: list[FieldError] = []
    for name, text in given.items():
        if name[1:2] != "/" or not isinstance(text, str) or text == "":
            continue
        try:
            typed_values.put(found, name, text)
        except ValueError as error:
            faults.append(FieldError(f"/{name}", str(error)))
    if faults:
        raise errors.Invalid("The input cannot be read as it was typed.", errors=faults)
    return found


def parse(text: str) -> object:
    """An input that was typed as JSON. Raises `errors.Invalid`."""
    try:
        return body.parse(text.encode())
    except errors.PlatformError as error:
        detail = error.detail.removeprefix("The body ")
        raise errors.Invalid("This is not valid JSON.", errors=[FieldError("/raw", detail)]) from None


def located(error: errors.Invalid, given: Given) -> errors.Invalid:
    """The same error, with the names of fields where it points into the input."""
    names = {name[1:]: name for name in given if name[1:2] == "/"}
    faults = []
    for fault in error.errors:
        path = fault.pointer.removeprefix("/input")
        while path and path not in names:
            path = path.rpartition("/")[0]
        name = names.get(path, "raw" if "raw" in given else "input")
        inside = path != fault.pointer.removeprefix("/input") or name == "raw"
        detail = f"{fault.pointer}: {fault.detail}" if inside and fault.pointer else fault.detail
        faults.append(FieldError(f"/{name}" if fault.pointer.startswith("/input") else fault.pointer, detail))
    return type(error)(error.detail, errors=faults)


# -- from schema and value to fields -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Builder:
    """`typed`: the kinds of fields that were typed, by pointer. `empty`: no value yet, so defaults are shown."""

    typed: Mapping[str, str]
    empty: bool

    def of_object(
        self, schema: Schema, value: object, at: str = "", group: str = "", level: int = 1
    ) -> Iterator[InputField]:
        """The fields of an object's properties, and of what it has, or was typed, beside them."""
        known, required = _part(schema, "properties"), schema.get("required")
        values = value if isinstance(value, dict) else {}
        for key in dict.fromkeys([*known, *values, *self.typed_at(at)]):
            part, path = _part(known, key), f"{at}/{typed_values.escaped(key)}"
            own = values.get(key, part.get("default", MISSING) if self.empty else MISSING)
            is_open = level <= LEVELS and bool(_part(part, "properties")) and path not in self.typed
            if is_open and (own is MISSING or (isinstance(own, dict) and own)):
                yield from self.of_object(part, own, path, f"{group} · {key}" if group else key, level + 1)
            else:
                is_required = isinstance(required, list) and key in required
                yield self.field(path, part, own, is_required, group)

    def typed_at(self, at: str) -> Iterator[str]:
        """The keys of what was typed that stands directly in this object."""
        here = (path[len(at) + 1 :] for path in self.typed if path.startswith(f"{at}/"))
        return islice((typed_values.unescaped(step) for step in here if "/" not in step), MOST_FIELDS)

    def field(self, path: str, schema: Schema, value: object, is_required: bool, group: str) -> InputField:
        """One field."""
        kind, options = _kind(schema)
        if value is not MISSING and not _holds(kind, value, options):
            kind = "j"
        kind = self.typed.get(path, kind)
        text = "" if value is MISSING else _written(kind, value)
        key = typed_values.unescaped(path.rpartition("/")[2])
        return InputField(
            name=f"{kind}{path}",
            label=_said(schema, "title") or key,
            value=text,
            hint=_said(schema, "description") or _HINTS.get(kind, ""),
            required=is_required,
            type=_type(schema, text) if kind == "s" else "",
            options=options if kind in "eb" else (),
            group=group,
        )


_HINTS: Final = {"j": "As JSON.", "l": "One per line."}


def _part(schema: Schema, name: str) -> dict[str, object]:
    found = schema.get(name)
    return found if isinstance(found, dict) else {}


def _said(schema: Schema, name: str) -> str:
    found = schema.get(name)
    return found.strip() if isinstance(found, str) else ""


def _kind(schema: Schema) -> tuple[str, list[tuple[str, str]]]:
    """How a value of this schema is typed, and the options that there are."""
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, list) and values:
        return "e", [
            (json.dumps(each), each if isinstance(each, str) and each else json.dumps(each)) for each in values
        ]
    if "$ref" in schema or any(word in schema for word in ("oneOf", "anyOf", "allOf", "not", "if")):
        return "j", []
    kind, items = schema.get("type"), _part(schema, "items")
    if isinstance(kind, list) and len(without := [each for each in kind if each != "null"]) == 1:
        kind = without[0]
    if kind == "array" and items.get("type") == "string" and "enum" not in items:
        return "l", []
    if kind == "boolean":
        return "b", [("true", "yes"), ("false", "no")]
    return {"string": "s", "integer": "n", "number": "n"}.get(str(kind), "j"), []


def _type(schema: Schema, text: str) -> str:
    longest, wanted = schema.get("maxLength"), _FORMATS.get(_said(schema, "format"))
    if "\n" in text:
        return "area"
    if wanted is not None and text == text.strip() and (wanted != "date" or _DATE.fullmatch(text)):
        return wanted
    return "text" if "format" in schema or (isinstance(longest, int) and longest < LINE) else "area"


def _holds(kind: str, value: object, options: Sequence[tuple[str, str]]) -> bool:
    """Whether a field of this kind gives back exactly this value."""
    if kind in "eb":
        return json.dumps(value) in [option for option, _ in options]
    if kind == "s" and (not isinstance(value, str) or "\r" in value):
        return False
    try:
        written = _written(kind, value)
        again = typed_values.read(kind, written) if written else MISSING
    except (ValueError, TypeError):
        return False
    return type(again) is type(value) and again == value


def _written(kind: str, value: object) -> str:
    if kind == "s":
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if kind == "l" and isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "\n".join(value)
    if kind == "n" and isinstance(value, bool):
        raise TypeError
    return json_texts.indented(value) if kind == "j" else json.dumps(value, ensure_ascii=False)
