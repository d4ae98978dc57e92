"""Values loaded with a schema, and what is wrong with them, as a list of fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import marshmallow as ma

from common import errors
from common.errors import FieldError

#: Maximum number of `errors` in a problem.
MAX_FAULTS = 100


def loaded(
    schema: ma.Schema, value: object, what: str = "body", *, ignore_unknown: bool = False
) -> Any:  # who calls says as which TypedDict
    """Load `value` with `schema`, with or without its unknown fields (nested schemas decide about theirs).

    Raises `errors.Invalid` with a pointer to every invalid field.
    """
    try:
        unknown = ma.EXCLUDE if ignore_unknown else None
        return schema.load(value, unknown=unknown)  # type: ignore[arg-type]  # it refuses what is no object
    except ma.ValidationError as error:
        raise errors.Invalid(
            f"The {what} is not valid.", errors=list(islice(_faults(error.messages), MAX_FAULTS))
        ) from None


def pointer(*path: str | int) -> str:
    """The RFC 6901 JSON Pointer to `path`."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _faults(messages: object, *path: str | int) -> Iterator[FieldError]:
    """Marshmallow's nested messages as a flat list of field errors."""
    if isinstance(messages, Mapping):
        for key, nested in messages.items():
            yield from _faults(nested, *path) if key == "_schema" else _faults(nested, *path, key)
    else:
        for message in messages if isinstance(messages, list) else [messages]:
            yield FieldError(pointer(*path), str(message))
